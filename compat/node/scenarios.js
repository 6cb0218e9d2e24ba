// Node's clients against a broker: one line of JSON per scenario.
//
// Usage: scenarios.js CLIENT BOOTSTRAP SCENARIO...
//
// Scenarios run side by side, each with topics and groups of its own. A line is either
// {"scenario": NAME, "saw": FACTS} or {"scenario": NAME, "failed": REASON}. Every client is seen
// through the same calls, so facts have the same names and meanings; a fact that a client has no
// call for is not in its line.

'use strict'

const { LATEST, EARLIEST, NotOffered, create, eventually, numbered } = require('./ground.js')
const { Sharing, churn } = require('./sharing.js')

const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

async function send (client, topic, records, settings = {}) {
  const producer = await client.producer(settings)
  await producer.send(topic, records)
  await producer.close()
}

// Keeps the Kafka error of a call, 0 when it is granted; nothing if there is no such call.
async function refusal (saw, fact, client, call) {
  try {
    await call()
    saw[fact] = 0
  } catch (error) {
    if (error instanceof NotOffered) return
    saw[fact] = client.code(error) ?? String(error)
  }
}

// Keeps what a call returns, unless the client has no such call.
async function seen (saw, fact, call) {
  try {
    saw[fact] = await call()
    return true
  } catch (error) {
    if (error instanceof NotOffered) return false
    throw error
  }
}

// How many records of each tag came, in order: "a5 c5".
function tags (records) {
  const counts = new Map()
  for (const { value } of records) {
    const tag = value.split(' ')[0]
    counts.set(tag, (counts.get(tag) ?? 0) + 1)
  }
  return [...counts].map(([tag, count]) => tag + count).join(' ')
}

// How many records were read as they were sent, in the order of their keys.
function sameByKey (sent, read) {
  const byKey = records => Map.groupBy(records, record => record.key)
  const came = byKey(read)
  let same = 0
  for (const [key, all] of byKey(sent)) {
    all.forEach(({ value, header }, n) => {
      const other = came.get(key)?.[n]
      same += other !== undefined && other.value === value && other.header === header ? 1 : 0
    })
  }
  return same
}

async function codecs (client, prefix) {
  const count = 200
  const saw = {}
  for (const codec of CODECS) {
    const topic = `${prefix}.${codec}`
    await create(client, topic, 4)
    const sent = numbered(codec, count)
    sent[count - 1].value = null
    await send(client, topic, sent, { codec })
    saw[codec] = sameByKey(sent, await client.read(topic, 4, count))
  }
  return saw
}

async function idempotence (client, prefix) {
  const count = 500
  await create(client, prefix, 1)
  const sent = numbered('once', count)
  const producer = await client.producer({ idempotent: true })
  for (let n = 0; n < count; n += 50) await producer.send(prefix, sent.slice(n, n + 50))
  await producer.close()
  const read = await client.read(prefix, 1, count)
  return {
    read: read.length,
    'in order': read.every((record, n) => record.value === `once ${n}`),
    latest: await client.listOffset(prefix, 0, LATEST)
  }
}

async function transactions (client, prefix) {
  await create(client, prefix, 1)
  const producer = await client.producer({ transactionalId: prefix })
  for (const tag of 'abc') {
    await producer.begin()
    await producer.send(prefix, numbered(tag, 5))
    await (tag === 'b' ? producer.abort() : producer.commit())
  }
  const saw = {
    committed: tags(await client.read(prefix, 1, 10, true)),
    uncommitted: tags(await client.read(prefix, 1, 15))
  }
  await producer.begin()
  await producer.send(prefix, numbered('d', 5))
  for (const [fact, isolation] of [
    ['stable while open', 'committed'],
    ['latest while open', 'uncommitted']
  ]) {
    await seen(saw, fact, () => client.listOffset(prefix, 0, LATEST, isolation))
  }
  await producer.abort()

  const group = `${prefix}.group`
  await producer.begin()
  await producer.sendOffset(group, prefix, 3)
  await producer.abort()
  saw['offset after abort'] = await client.committed(group, prefix, 0)
  await producer.begin()
  await producer.sendOffset(group, prefix, 5)
  await producer.commit()
  // The coordinator answers before the group has its marker.
  await eventually('the offset', async () => await client.committed(group, prefix, 0) === 5)
  saw['offset after commit'] = await client.committed(group, prefix, 0)

  await producer.begin()
  await producer.send(prefix, numbered('e', 1))
  const second = await client.producer({ transactionalId: prefix })
  await second.begin()
  await second.send(prefix, numbered('f', 5))
  saw.fenced = await producer.commit().then(() => false, () => true)
  await second.commit()
  saw['after fencing'] = tags(await client.read(prefix, 1, 15, true))
  await producer.close()
  await second.close()
  return saw
}

async function topics (client, prefix) {
  const made = `${prefix}.made`
  const saw = {}
  await create(client, made, 3, { 'max.message.bytes': '2000000' })
  for (const [fact, name, replicas, configs] of [
    ['again', made, 1, {}],
    ['bad name', `${prefix}/slash`, 1, {}],
    ['three replicas', `${prefix}.replicas`, 3, {}],
    ['bad config', `${prefix}.config`, 1, { 'no.such.config': '1' }]
  ]) {
    await refusal(saw, fact, client, () => client.createTopic(name, 3, replicas, configs))
  }
  await client.growTopic(made, 6)
  await refusal(saw, 'shrunk', client, () => client.growTopic(made, 2))
  await eventually('six partitions', async () => await client.partitions(made) === 6)
  await send(client, made, [{ ...numbered('grown', 1)[0], partition: 5 }])
  saw['in the new partition'] = (await client.read(made, 6, 1)).length
  await client.deleteTopic(made)
  await eventually('the topic is gone', async () => await client.partitions(made) === 0)
  await refusal(saw, 'deleted again', client, () => client.deleteTopic(made))
  return saw
}

async function configs (client, prefix) {
  await create(client, prefix, 1, { 'max.message.bytes': '2000000' })
  const saw = { 'created with': await client.config(prefix, 'max.message.bytes') }
  const becomes = async (fact, name, value) => {
    await eventually(fact, async () => await client.config(prefix, name) === value)
    saw[fact] = await client.config(prefix, name)
  }
  if (!await seen(saw, 'set', () => client.alterConfig(prefix, 'SET', 'retention.ms', '1000000'))) {
    return saw
  }
  await becomes('set', 'retention.ms', '1000000')
  await client.alterConfig(prefix, 'APPEND', 'cleanup.policy', 'compact')
  await becomes('appended', 'cleanup.policy', 'delete,compact')
  await client.alterConfig(prefix, 'SUBTRACT', 'cleanup.policy', 'delete')
  await becomes('subtracted', 'cleanup.policy', 'compact')
  await client.alterConfig(prefix, 'DELETE', 'retention.ms')
  await becomes('unset', 'retention.ms', '604800000')
  saw.untouched = await client.config(prefix, 'max.message.bytes')
  for (const [fact, name, value] of [
    ['unknown', 'no.such.config', '1'],
    ['bad value', 'retention.ms', 'soon']
  ]) {
    await refusal(saw, fact, client, () => client.alterConfig(prefix, 'SET', name, value))
  }
  return saw
}

async function groups (client, prefix) {
  await create(client, prefix, 1)
  await send(client, prefix, numbered('read', 10))
  const group = `${prefix}.group`
  const saw = {}
  const shared = new Sharing()
  const member = shared.join(client, group, prefix, 'eager')
  await eventually('ten records', () => member.alive() && shared.distinct() === 10)
  saw.listed = (await client.listGroups()).includes(group);
  [saw.state, saw.members] = await client.describeGroup(group)
  await refusal(saw, 'deleted while busy', client, () => client.deleteGroup(group))
  await member.leave()
  saw['state after leaving'] = (await client.describeGroup(group))[0]

  saw.committed = await client.committed(group, prefix, 0)
  if (await seen(saw, 'altered', () => client.commit(group, prefix, 0, 4))) {
    saw.altered = await client.committed(group, prefix, 0)
  }
  if (await seen(saw, 'offset deleted', () => client.deleteCommitted(group, prefix, 0))) {
    saw['offset deleted'] = await client.committed(group, prefix, 0)
  }
  await client.deleteGroup(group)
  saw['listed after deletion'] = (await client.listGroups()).includes(group)
  await refusal(saw, 'deleted again', client, () => client.deleteGroup(group))
  return saw
}

async function records (client, prefix) {
  await create(client, prefix, 1)
  const start = Date.now() - 100_000
  const producer = await client.producer({})
  for (const [n, record] of numbered('timed', 10).entries()) {
    await producer.send(prefix, [{ ...record, timestamp: start + n * 1000 }])
  }
  await producer.close()
  const saw = {
    earliest: await client.listOffset(prefix, 0, EARLIEST),
    latest: await client.listOffset(prefix, 0, LATEST),
    'at a time': await client.listOffset(prefix, 0, start + 3500)
  }
  await seen(saw, 'after last', () => client.listOffset(prefix, 0, start + 1_000_000))
  await client.deleteRecords(prefix, 0, 6)
  saw['earliest then'] = await client.listOffset(prefix, 0, EARLIEST)
  saw['deleted before'] = saw['earliest then']
  saw['read then'] = (await client.read(prefix, 1, 4)).length
  const beyond = () => client.deleteRecords(prefix, 0, 11)
  await refusal(saw, 'deleted beyond the end', client, beyond)
  return saw
}

async function refusals (client, prefix) {
  await create(client, prefix, 1, { 'max.message.bytes': '1000' })
  const producer = await client.producer({})
  const saw = {}
  const large = [{ ...numbered('large', 1)[0], value: 'x'.repeat(5000) }]
  await refusal(saw, 'too large', client, () => producer.send(prefix, large))
  await producer.send(prefix, numbered('small', 1))
  await producer.close()
  saw.read = (await client.read(prefix, 1, 1)).length
  await refusal(saw, 'out of range', client, () => client.fetchAt(prefix, 0, 1000))
  return saw
}

const SCENARIOS = {
  codecs,
  idempotence,
  transactions,
  group: churn('eager'),
  'cooperative group': churn('cooperative'),
  'consumer protocol': churn('consumer'),
  topics,
  configs,
  groups,
  records,
  refusals
}

async function play (client, name, scenario) {
  const prefix = `${name}.${scenario.replaceAll(' ', '-')}.${process.pid}`
  try {
    return { scenario, saw: await SCENARIOS[scenario](client, prefix) }
  } catch (error) {
    console.error(scenario, error)
    return { scenario, failed: String(error) }
  }
}

async function main () {
  const [name, bootstrap, ...wanted] = process.argv.slice(2)
  const client = require(`./client_${name}.js`).connect(bootstrap)
  await Promise.all(wanted.map(async one => {
    console.log(JSON.stringify(await play(client, name, one)))
  }))
  // A scenario that failed may have left its members running.
  process.exit()
}

main()
