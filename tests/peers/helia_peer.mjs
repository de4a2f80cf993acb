// Helia as a child process, driven by JSON lines.
//
// usage: node helia_peer.mjs '{"listen": ["/ip4/127.0.0.1/tcp/0"], "dht": "lan"}'
// (dht: lan or none)
//
// The first line out is {"id": ..., "addrs": [...]}. Then each line in is an operation
// {"op": name, ...} and has one line out, in turn: its result, or {"error": text}. The end of the
// input ends the process. Dials nothing but the loopback.
import { createReadStream, createWriteStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { pipeline } from 'node:stream/promises'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { withBitswap } from '@helia/bitswap'
import { withLibp2pLight } from '@helia/libp2p'
import { unixfs } from '@helia/unixfs'
import { identify, identifyPush } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { webSockets } from '@libp2p/websockets'
import { multiaddr } from '@multiformats/multiaddr'
import { createHeliaLight } from 'helia'
import { base58btc } from 'multiformats/bases/base58'
import { CID } from 'multiformats/cid'

// Longest wait of one operation, in milliseconds.
const PATIENCE = 120_000

const { listen, dht } = JSON.parse(process.argv[2])
const services = { identify: identify(), identifyPush: identifyPush(), ping: ping() }
if (dht === 'lan') {
  services.dht = kadDHT({
    protocol: '/ipfs/lan/kad/1.0.0',
    clientMode: false,
    peerInfoMapper: passthroughMapper,
    allowQueryWithZeroPeers: true
  })
}
const helia = await withBitswap(withLibp2pLight(createHeliaLight(), {
  addresses: { listen },
  transports: [tcp(), webSockets()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  peerDiscovery: [],
  services,
  connectionGater: { denyDialMultiaddr: (to) => !to.toString().startsWith('/ip4/127.') },
  connectionMonitor: { enabled: false }
})).start()
const { libp2p } = helia
const files = unixfs(helia)
const patience = () => ({ signal: AbortSignal.timeout(PATIENCE) })
const whole = ({ remoteAddr, remotePeer }) => {
  const text = remoteAddr.toString()
  return text.includes('/p2p/') ? text : `${text}/p2p/${remotePeer}`
}

const operations = {
  id: () => ({ id: libp2p.peerId.toString(), addrs: libp2p.getMultiaddrs().map(String) }),
  add: async ({ path }) => {
    const cid = await files.addByteStream(createReadStream(path))
    return { cid: cid.toString() }
  },
  get: async ({ cid, dest }) => {
    await pipeline(files.cat(CID.parse(cid), patience()), createWriteStream(dest))
    return {}
  },
  pin: async ({ cid }) => {
    for await (const _ of helia.pins.add(CID.parse(cid), patience())) {}
    return {}
  },
  connect: async ({ addr }) => {
    await libp2p.dial(multiaddr(addr), patience())
    return {}
  },
  peers: () => ({ peers: libp2p.getConnections().map(whole) }),
  ping: async ({ addr }) => ({ ms: await libp2p.services.ping.ping(multiaddr(addr), patience()) }),
  provide: async ({ cid }) => {
    await helia.routing.provide(CID.parse(cid), patience())
    return {}
  },
  findprovs: async ({ cid, count }) => {
    const found = []
    for await (const provider of helia.routing.findProviders(CID.parse(cid), patience())) {
      // A CID; everybody else here says base58.
      found.push(base58btc.encode(provider.id.multihash.bytes).slice(1))
      if (found.length >= count) break
    }
    return { found }
  }
}

const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`)
say(operations.id())
for await (const line of createInterface({ input: process.stdin })) {
  const { op, ...asked } = JSON.parse(line)
  if (op === 'quit') break
  try {
    say(await operations[op](asked))
  } catch (error) {
    say({ error: `${error.name}: ${error.message}` })
  }
}
process.exit(0)
