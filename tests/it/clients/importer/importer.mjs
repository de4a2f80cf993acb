// Says what CIDs the JavaScript importer gives to files and folders on the disk; nothing is stored.
//
// usage: node importer.mjs '{"profile": "unixfs-v0-2015", "chunk": 262144, "trickle": false}'
//
// Each line in is a path; each has one line out, in turn: the CID of what lies there. Folders become
// folders, files files; there are to be no symlinks, for which this importer has no form.
import { readFileSync, readdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { importer } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { trickle } from 'ipfs-unixfs-importer/layout'

const asked = JSON.parse(process.argv[2])
const nowhere = { put: async (cid) => cid }

function options () {
  const common = { profile: asked.profile, chunker: fixedSize({ chunkSize: asked.chunk }) }
  if (!asked.trickle) {
    return common
  }
  // What Kubo means by trickle: leaves of type raw, and a single chunk below a root, too.
  return {
    ...common,
    layout: trickle({ maxChildrenPerNode: 174, layerRepeat: 4 }),
    leafType: 'raw',
    reduceSingleLeafToSelf: false
  }
}

function * below (place, path) {
  if (!statSync(place).isDirectory()) {
    yield { path, content: readFileSync(place) }
    return
  }
  const names = readdirSync(place)
  yield { path }
  for (const name of names) {
    yield * below(join(place, name), `${path}/${name}`)
  }
}

for await (const place of createInterface({ input: process.stdin })) {
  const path = basename(place)
  let root
  for await (const entry of importer(below(place, path), nowhere, options())) {
    if (entry.path === path) {
      root = entry.cid
    }
  }
  console.log(root.toString())
}
