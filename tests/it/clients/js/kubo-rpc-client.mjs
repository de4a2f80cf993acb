// The npm package kubo-rpc-client against a running daemon: node kubo-rpc-client.mjs <url>
// <address of another daemon>.
// One line a call; the first difference ends it with exit code 1.
import assert from 'node:assert/strict'
import { CID, create, globSource } from 'kubo-rpc-client'

const ipfs = create({ url: process.argv[2] })
const HELLO = 'QmZULkCELmmk5XNfCgTnCyFgAVxBRBXyDHGGMVoLFLiXEN'
// Stores list blocks by their hash, as CIDv1 of raw.
const HELLO_RAW = String(CID.createV1(0x55, CID.parse(HELLO).multihash))
const all = async (source) => {
  const items = []
  for await (const item of source) items.push(item)
  return items
}
const bytes = async (source) => Buffer.concat(await all(source))
const step = async (name, call) => {
  try {
    await call()
    console.log(`ok ${name}`)
  } catch (error) {
    console.log(`not ok ${name}: ${error.stack ?? error}`)
    process.exitCode = 1
  }
}
const text = (cids) => cids.map(String).sort()

await step('version', async () => {
  const version = await ipfs.version()
  assert.match(version.version, /^\d+\.\d+\.\d+$/)
  assert.equal(version.repo, '18')
})
await step('id', async () => {
  const id = await ipfs.id()
  assert.match(String(id.id), /^12D3KooW/)
  assert.match(id.agentVersion, /henge/)
  assert.ok(id.addresses.length > 0 && id.protocols.includes('/ipfs/ping/1.0.0'))
})
await step('isOnline', async () => assert.equal(await ipfs.isOnline(), true))
await step('add', async () => {
  const added = await ipfs.add('hello\n')
  assert.equal(String(added.cid), HELLO)
  assert.equal(added.path, HELLO)
  assert.equal(added.size, 14)
})
await step('add cidVersion 1', async () => {
  const added = await ipfs.add({ path: 'x.txt', content: 'hello\n' }, { cidVersion: 1, pin: false })
  assert.equal(String(added.cid), 'bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am')
  assert.equal(added.path, 'x.txt')
})
await step('add onlyHash', async () => {
  const { cid } = await ipfs.add('only hashed', { onlyHash: true })
  assert.ok(!(await all(ipfs.refs.local())).some(({ ref }) => ref === String(CID.createV1(0x55, cid.multihash))))
})
const big = Buffer.alloc(3 << 20, 7)
let root
await step('add progress', async () => {
  const seen = []
  const added = await ipfs.add(big, { progress: (n) => seen.push(n) })
  assert.equal(seen.at(-1), big.length)
  assert.ok(seen.length > 1)
  root = added.cid
})
await step('addAll', async () => {
  const files = [
    { path: 'd/a', content: 'a' }, { path: 'd/sub/b ü+%.txt', content: 'b' }, { path: 'd/empty' }
  ]
  const added = await all(ipfs.addAll(files, { pin: true }))
  const names = added.map(({ path }) => path)
  assert.deepEqual(names.sort(), ['d', 'd/a', 'd/empty', 'd/sub', 'd/sub/b ü+%.txt'].sort())
})
await step('addAll wrapWithDirectory', async () => {
  const added = await all(ipfs.addAll([{ path: 'a', content: 'a' }], { wrapWithDirectory: true }))
  assert.deepEqual(added.map(({ path }) => path), ['a', ''])
})
await step('addAll globSource', async () => {
  const added = await all(ipfs.addAll(globSource(new URL('.', import.meta.url).pathname, '*.mjs')))
  assert.ok(added.length >= 1)
})
await step('cat', async () => {
  assert.equal(String(await bytes(ipfs.cat(HELLO))), 'hello\n')
  assert.equal(String(await bytes(ipfs.cat(HELLO, { offset: 1, length: 3 }))), 'ell')
  assert.ok((await bytes(ipfs.cat(root))).equals(big))
})
await step('get', async () => {
  const tar = await bytes(ipfs.get(HELLO))
  assert.equal(tar.length % 512, 0)
  assert.equal(tar.subarray(512, 518).toString(), 'hello\n')
  const packed = await bytes(ipfs.get(HELLO, { archive: true, compress: true, compressionLevel: 5 }))
  assert.deepEqual([...packed.subarray(0, 2)], [0x1f, 0x8b])
})
await step('ls', async () => {
  const [dir] = (await all(ipfs.addAll([{ path: 'l/a', content: 'aa' }, { path: 'l/s/b', content: 'b' }])))
    .filter(({ path }) => path === 'l')
  const rows = await all(ipfs.ls(dir.cid))
  assert.deepEqual(rows.map(({ name, type, size }) => [name, type, size]), [['a', 'file', 2], ['s', 'dir', 0]])
  assert.equal(rows[0].path, `${dir.cid}/a`)
  // A file is listed as itself: the client asks files.stat, which is not served yet.
})
await step('refs', async () => {
  const refs = await all(ipfs.refs(root))
  assert.equal(refs.length, 12)
  assert.equal(refs[0].err, '')
  const unique = await all(ipfs.refs(root, { unique: true, recursive: true }))
  assert.equal(unique.length, 1)
})
await step('refs.local', async () => {
  const refs = await all(ipfs.refs.local())
  assert.ok(refs.some(({ ref }) => ref === HELLO_RAW))
})
let block
await step('block.put', async () => {
  block = await ipfs.block.put(Buffer.from('a block'), { format: 'raw' })
  assert.equal(block.code, 0x55)
  const v0 = await ipfs.block.put(Buffer.from([0x0a, 0x02, 0x08, 0x01]), { format: 'v0' })
  assert.equal(v0.version, 0)
})
await step('block.get', async () => {
  assert.equal(Buffer.from(await ipfs.block.get(block)).toString(), 'a block')
})
await step('block.stat', async () => {
  const stat = await ipfs.block.stat(block)
  assert.deepEqual([String(stat.cid), stat.size], [String(block), 7])
})
await step('block.rm', async () => {
  const [gone] = await all(ipfs.block.rm(block))
  assert.equal(String(gone.cid), String(block))
  assert.equal(gone.error, undefined)
  const [absent] = await all(ipfs.block.rm(block))
  assert.match(absent.error.message, /could not find/)
  assert.deepEqual((await all(ipfs.block.rm(block, { force: true }))).map(({ error }) => error), [undefined])
})
await step('dag.get', async () => {
  const { value } = await ipfs.dag.get((await ipfs.add('hello\n')).cid)
  assert.deepEqual(value.Links, [])
})
await step('dag.put', async () => {
  const leaf = await ipfs.dag.put({ n: 1, bytes: new Uint8Array([1, 2]), list: [true, null, 'x'] })
  const cid = await ipfs.dag.put({ leaf, a: { b: 7 } }, { storeCodec: 'dag-cbor', hashAlg: 'sha2-256', pin: true })
  assert.equal(cid.code, 0x71)
  assert.equal((await ipfs.dag.get(cid, { path: '/a/b' })).value, 7)
  assert.equal(String((await ipfs.dag.get(cid)).value.leaf), String(leaf))
  assert.deepEqual((await ipfs.dag.get(cid, { path: '/leaf/list' })).value, [true, null, 'x'])
})
await step('dag.resolve', async () => {
  const leaf = await ipfs.dag.put({ deep: { er: 1 } })
  const cid = await ipfs.dag.put({ leaf })
  const found = await ipfs.dag.resolve(cid, { path: '/leaf/deep/er' })
  assert.deepEqual([String(found.cid), found.remainderPath], [String(leaf), 'deep/er'])
})
await step('dag.export and dag.import', async () => {
  const car = await bytes(ipfs.dag.export(root))
  const imported = await all(ipfs.dag.import([car]))
  assert.deepEqual(imported.map(({ root }) => [String(root.cid), root.pinErrorMsg]), [[String(root), '']])
  await assert.rejects(all(ipfs.dag.import([car.subarray(0, car.length - 9)])))
})
await step('resolve', async () => {
  const { cid } = await ipfs.add({ path: 'd/hello.txt', content: 'hello\n' }, { wrapWithDirectory: true, pin: false })
  assert.equal(await ipfs.resolve(`/ipfs/${cid}/d/hello.txt`), `/ipfs/${HELLO}`)
})
await step('pin.ls', async () => {
  const pins = await all(ipfs.pin.ls())
  assert.ok(pins.some(({ cid, type }) => String(cid) === HELLO && type === 'recursive'))
  const [row] = await all(ipfs.pin.ls({ paths: HELLO, type: 'recursive' }))
  assert.deepEqual([String(row.cid), row.type], [HELLO, 'recursive'])
})
await step('pin.rm', async () => {
  assert.equal(String(await ipfs.pin.rm(HELLO)), HELLO)
  await assert.rejects(ipfs.pin.rm(HELLO), /not pinned or pinned indirectly/)
  await assert.rejects(all(ipfs.pin.ls({ paths: HELLO })), /is not pinned$/)
})
await step('pin.add', async () => {
  assert.equal(String(await ipfs.pin.add(HELLO)), HELLO)
  assert.deepEqual(text(await all(ipfs.pin.addAll([HELLO, root]))), text([HELLO, root]))
  await ipfs.pin.rm(HELLO)
  await ipfs.pin.add(HELLO, { recursive: false })
  const rows = await all(ipfs.pin.ls({ type: 'direct' }))
  assert.deepEqual(rows.map(({ cid }) => String(cid)), [HELLO])
  assert.deepEqual(text(await all(ipfs.pin.rmAll([HELLO]))), [HELLO])
})
await step('repo.stat', async () => {
  const stat = await ipfs.repo.stat()
  assert.ok(stat.numObjects > 0n && stat.repoSize > 0n && stat.storageMax > 0n)
  assert.equal(stat.version, 'fs-repo@18')
})
await step('repo.version', async () => assert.equal(Number(await ipfs.repo.version()), 18))
await step('repo.gc', async () => {
  const gone = await all(ipfs.repo.gc())
  assert.ok(gone.some(({ cid }) => String(cid) === HELLO_RAW))
  assert.ok(gone.every(({ err }) => err == null), JSON.stringify(gone[0]))
})
await step('config.get', async () => assert.equal(await ipfs.config.get('Addresses.API'), '/ip4/127.0.0.1/tcp/0'))
await step('config.getAll', async () => {
  const config = await ipfs.config.getAll()
  assert.equal(config.Identity.PrivKey, undefined)
  assert.match(config.Identity.PeerID, /^12D3KooW/)
})
await step('config.set', async () => {
  await ipfs.config.set('Datastore.StorageMax', '5GB')
  assert.equal(await ipfs.config.get('Datastore.StorageMax'), '5GB')
  await ipfs.config.set('Swarm.DisableNatPortMap', true)
  assert.equal(await ipfs.config.get('Swarm.DisableNatPortMap'), true)
  await ipfs.config.set('Bootstrap', [])
  assert.deepEqual(await ipfs.config.get('Bootstrap'), [])
})
await step('config.replace', async () => {
  const config = await ipfs.config.getAll()
  config.Datastore.StorageMax = '6GB'
  await ipfs.config.replace(config)
  assert.equal(await ipfs.config.get('Datastore.StorageMax'), '6GB')
  assert.match((await ipfs.config.getAll()).Identity.PeerID, /^12D3KooW/)
})
await step('config.profiles', async () => {
  const { original, updated } = await ipfs.config.profiles.apply('lowpower', { dryRun: true })
  assert.ok(original && updated)
})
await step('errors', async () => {
  await assert.rejects(bytes(ipfs.cat('not a cid')), (e) => e.name === 'HTTPError' || e.name === 'TypeError' || /invalid/i.test(e.message))
  await assert.rejects(ipfs.config.get('No.Such.Key'), (e) => e.name === 'HTTPError' && /No/.test(e.message))
})
const other = process.argv[3]
const peer = other.split('/').pop()
await step('swarm.connect', async () => {
  assert.deepEqual(await ipfs.swarm.peers(), [])
  assert.deepEqual(await ipfs.swarm.connect(other), [`connect ${peer} success`])
})
await step('ping', async () => {
  const pongs = await all(ipfs.ping(peer, { count: 2 }))
  assert.equal(pongs[0].text, `PING ${peer}.`)
  assert.ok(pongs.every(({ success }) => success))
  assert.equal(pongs.filter(({ time }) => time > 0).length, 2)
})
await step('id of a peer', async () => {
  const id = await ipfs.id({ peerId: peer })
  assert.equal(String(id.id), peer)
  assert.ok(id.addresses.length > 0)
})
await step('swarm.peers', async () => {
  const [found] = await ipfs.swarm.peers({ verbose: true })
  assert.equal(String(found.peer), peer)
  assert.equal(found.direction, 'outbound')
})
await step('swarm.addrs', async () => {
  const known = await ipfs.swarm.addrs()
  assert.ok(known.some(({ id, addrs }) => String(id) === peer && addrs.length > 0))
})
await step('swarm.localAddrs', async () => assert.ok((await ipfs.swarm.localAddrs()).length > 0))
await step('swarm.disconnect', async () => {
  assert.deepEqual(await ipfs.swarm.disconnect(other), [`disconnect ${peer} success`])
  await assert.rejects(ipfs.swarm.connect(`/ip4/127.0.0.1/tcp/1/p2p/${peer.slice(0, -4)}`))
})
await step('bootstrap', async () => {
  assert.deepEqual((await ipfs.bootstrap.add(other)).Peers.map(String), [other])
  assert.deepEqual((await ipfs.bootstrap.list()).Peers.map(String), [other])
  assert.deepEqual((await ipfs.bootstrap.rm(other)).Peers.map(String), [other])
})
