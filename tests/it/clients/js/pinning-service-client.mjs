// The npm package @ipfs-shipyard/pinning-service-client against a running pinning service:
// node pinning-service-client.mjs <url> <token> <cid that is there>.
// One line a call; the first difference ends it with exit code 1.
import assert from 'node:assert/strict'
import { Configuration, RemotePinningServiceClient, Status } from '@ipfs-shipyard/pinning-service-client'

const [endpointUrl, accessToken, cid] = process.argv.slice(2)
const client = new RemotePinningServiceClient(new Configuration({ endpointUrl, accessToken }))
const absent = 'bafkreih2fzgdpa5jodoz2amarwcxbrbqyvqj3bxaj6jsbwcxxfd5anyk5y'
const every = [Status.Queued, Status.Pinning, Status.Pinned, Status.Failed]
const step = async (name, call) => {
  try {
    await call()
    console.log(`ok ${name}`)
  } catch (error) {
    const said = typeof error.text === 'function' ? await error.text() : error.stack ?? error
    console.log(`not ok ${name}: ${said}`)
    process.exit(1)
  }
}
const status = async (call) => {
  try {
    await call()
  } catch (response) {
    // This client throws replies that are refusals.
    if (typeof response.json !== 'function') throw response
    return `${response.status} ${(await response.json()).error.reason}`
  }
}
const settled = async (requestid) => {
  for (let n = 0; n < 200; n++) {
    const told = await client.pinsRequestidGet({ requestid })
    if (told.status === Status.Pinned || told.status === Status.Failed) return told
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`${requestid} does not end`)
}

const made = []
await step('add', async () => {
  const pin = { cid, name: 'first', origins: [], meta: { app_id: 'a' } }
  const told = await client.pinsPost({ pin })
  assert.ok(every.includes(told.status))
  assert.ok(told.created instanceof Date && !Number.isNaN(told.created.getTime()))
  assert.equal(told.pin.cid, cid)
  assert.deepEqual(told.pin.meta, { app_id: 'a' })
  assert.ok([...told.delegates].length > 0)
  made.push(told)
})
await step('get until pinned', async () => {
  const told = await settled(made[0].requestid)
  assert.equal(told.status, Status.Pinned)
  assert.equal(told.created.getTime(), made[0].created.getTime())
})
await step('add many', async () => {
  for (let n = 0; n < 25; n++) {
    made.push(await client.pinsPost({ pin: { cid, name: `Name ${n}`, meta: { n: String(n) } } }))
  }
  for (const { requestid } of made) assert.equal((await settled(requestid)).status, Status.Pinned)
})
await step('list', async () => {
  const { count, results } = await client.pinsGet({})
  assert.equal(count, 26)
  assert.equal([...results].length, 10)
  assert.equal([...results][0].pin.name, 'Name 24')
})
await step('page', async () => {
  const seen = []
  let before
  for (;;) {
    const { count, results } = await client.pinsGet({ limit: 7, before })
    const page = [...results]
    seen.push(...page.map(({ requestid }) => requestid))
    if (count <= page.length) break
    before = page.at(-1).created
  }
  assert.deepEqual(seen, made.map(({ requestid }) => requestid).reverse())
})
await step('filter', async () => {
  const count = async (filter) => (await client.pinsGet({ status: [Status.Pinned], ...filter })).count
  assert.equal(await count({ cid: [cid] }), 26)
  assert.equal(await count({ cid: [absent] }), 0)
  assert.equal(await count({ name: 'Name 7' }), 1)
  assert.equal(await count({ name: 'name 7' }), 0)
  assert.equal(await count({ name: 'name 7', match: 'iexact' }), 1)
  assert.equal(await count({ name: 'ame 1', match: 'partial' }), 11)
  assert.equal(await count({ name: 'NAME 1', match: 'ipartial' }), 11)
  assert.equal(await count({ after: made[20].created }), 5)
  assert.equal(await count({ before: made[5].created }), 5)
  // This client writes an object's members one by one.
  assert.equal(await count({ meta: { n: '3' } }), 1)
  assert.equal(await count({ meta: { n: '3', app_id: 'a' } }), 0)
  assert.equal((await client.pinsGet({ status: [Status.Failed] })).count, 0)
})
await step('replace', async () => {
  const { requestid } = made[1]
  const told = await client.pinsRequestidPost({ requestid, pin: { cid, name: 'replaced' } })
  assert.notEqual(told.requestid, requestid)
  assert.equal(await status(() => client.pinsRequestidGet({ requestid })), '404 NOT_FOUND')
  assert.equal((await settled(told.requestid)).pin.name, 'replaced')
})
await step('delete', async () => {
  const { requestid } = made[2]
  await client.pinsRequestidDelete({ requestid })
  assert.equal(await status(() => client.pinsRequestidDelete({ requestid })), '404 NOT_FOUND')
  assert.equal((await client.pinsGet({ status: every })).count, 25)
})
await step('refusals', async () => {
  const other = new RemotePinningServiceClient(new Configuration({ endpointUrl, accessToken: 'wrong' }))
  assert.equal(await status(() => other.pinsGet({})), '401 UNAUTHORIZED')
  assert.equal(await status(() => client.pinsPost({ pin: { cid: 'nonsense' } })), '400 BAD_REQUEST')
  assert.equal(await status(() => client.pinsGet({ limit: 1001 })), '400 BAD_REQUEST')
})
