// What the scenarios and the clients both stand on: records, and waiting.

'use strict'

const PATIENCE_MS = 60_000
const LATEST = -1
const EARLIEST = -2

// The client has no call for it.
class NotOffered extends Error {}

// What must come back as it was sent; a null value is a tombstone, no partition goes by key.
function numbered (tag, count) {
  return Array.from({ length: count }, (_, n) => ({
    key: `k${n % 7}`, value: `${tag} ${n}`, header: `h${Math.floor(n / 50)}`
  }))
}

// Waits for a condition that nothing tells of.
async function eventually (what, holds) {
  const deadline = Date.now() + PATIENCE_MS
  while (!await holds()) {
    if (Date.now() > deadline) throw new Error(`not within ${PATIENCE_MS} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

// Makes a topic and waits until the client sees it.
async function create (client, topic, partitions, configs = {}) {
  await client.createTopic(topic, partitions, 1, configs)
  await eventually('the topic is there', async () => {
    return await client.partitions(topic) === partitions
  })
}

module.exports = { PATIENCE_MS, LATEST, EARLIEST, NotOffered, numbered, eventually, create }
