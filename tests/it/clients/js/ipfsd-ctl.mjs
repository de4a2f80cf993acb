// The npm package ipfsd-ctl with its own defaults: node ipfsd-ctl.mjs <henge>.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { createNode } from 'ipfsd-ctl'
import { create } from 'kubo-rpc-client'

const node = await createNode({ type: 'kubo', test: true, bin: process.argv[2], rpc: create, disposable: true })
const info = await node.info()
assert.match(info.version, /\d+\.\d+\.\d+/)
assert.match(info.peerId, /^12D3KooW/)
assert.ok(existsSync(info.repo))
console.log('ok create, init, start')
const { cid } = await node.api.add('hello\n')
assert.equal(String(cid), 'QmZULkCELmmk5XNfCgTnCyFgAVxBRBXyDHGGMVoLFLiXEN')
console.log('ok api')
const since = Date.now()
await node.stop()
assert.ok(!existsSync(info.repo))
console.log(`ok stop, clean in ${Date.now() - since} ms`)

const kept = await createNode({ type: 'kubo', test: true, bin: process.argv[2], rpc: create, disposable: false, init: false, start: false })
await kept.init()
await kept.start()
assert.equal((await kept.api.id()).id.toString(), (await kept.info()).peerId)
await kept.stop()
await kept.start()
await kept.stop()
await kept.cleanup()
console.log('ok init, start, stop, start again, cleanup')
process.exit(0)
