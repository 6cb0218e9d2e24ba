// @platformatic/kafka.

'use strict'

const {
  Admin,
  ConfigResourceTypes,
  Consumer,
  FetchIsolationLevels,
  IncrementalAlterConfigOperationTypes,
  Producer,
  stringDeserializers,
  stringSerializers
} = require('@platformatic/kafka')

const { NotOffered, eventually } = require('./ground.js')

class Sender {
  constructor (client, producer) {
    this.client = client
    this.producer = producer
    this.to = producer
  }

  async send (topic, records) {
    const messages = records.map(({ key, value, header, partition, timestamp }) => ({
      topic,
      key,
      value: value ?? undefined,
      headers: new Map([['h', header]]),
      partition,
      timestamp: timestamp === undefined ? undefined : BigInt(timestamp)
    }))
    await this.to.send({ messages })
  }

  async begin () {
    // Without them the client sends id 0, which fences it when somebody had the name before.
    this.to = await this.producer.beginTransaction({ producerId: -1n, producerEpoch: -1 })
  }

  // The client sends the position behind a message that was read.
  async sendOffset (groupId, topic, offset) {
    const consumer = this.client.consumer(groupId, {})
    const stream = await consumer.consume({ topics: [topic], mode: 'earliest' })
    await this.to.addConsumer(consumer)
    for await (const message of stream) {
      if (Number(message.offset) === offset - 1) {
        await this.to.addOffset(message)
        break
      }
    }
    await consumer.close(true)
  }

  async commit () {
    await this.to.commit()
  }

  async abort () {
    await this.to.abort()
  }

  async close () {
    await this.producer.close()
  }
}

class Client {
  constructor (bootstrap) {
    this.base = { clientId: 'compat', bootstrapBrokers: [bootstrap], metadataMaxAge: 100 }
    this.admin = new Admin(this.base)
    this.readers = 0
  }

  async producer ({ codec, idempotent, transactionalId }) {
    return new Sender(this, new Producer({
      ...this.base,
      serializers: stringSerializers,
      compression: codec ?? 'none',
      acks: -1,
      idempotent: idempotent || transactionalId !== undefined,
      transactionalId
    }))
  }

  consumer (groupId, settings) {
    return new Consumer({
      ...this.base,
      groupId,
      deserializers: stringDeserializers,
      autocommit: false,
      maxWaitTime: 100,
      ...settings
    })
  }

  // There is no reading without a group.
  async read (topic, partitions, count, committed = false) {
    this.readers += 1
    const level = committed ? 'READ_COMMITTED' : 'READ_UNCOMMITTED'
    const isolationLevel = FetchIsolationLevels[level]
    const consumer = this.consumer(`${topic}.reader${this.readers}`, { isolationLevel })
    const stream = await consumer.consume({ topics: [topic], mode: 'earliest' })
    const read = []
    stream.on('data', ({ key, value, headers, partition }) => {
      read.push({ key, value: value ?? null, header: headers.get('h'), partition })
    })
    await eventually(`${count} records`, () => read.length >= count)
    await consumer.close(true)
    return read
  }

  async fetchAt (topic, partition, offset) {
    const consumer = this.consumer(`${topic}.unused`, {})
    const { topics, brokers } = await consumer.metadata({ topics: [topic] })
    const [node] = brokers.keys()
    try {
      await consumer.fetch({
        node,
        topics: [{
          topicId: topics.get(topic).id,
          partitions: [{
            partition,
            currentLeaderEpoch: -1,
            fetchOffset: BigInt(offset),
            lastFetchedEpoch: -1,
            partitionMaxBytes: 1 << 20
          }]
        }]
      })
    } finally {
      await consumer.close(true)
    }
  }

  async member (groupId, topic, protocol, hears) {
    if (protocol === 'cooperative') throw new NotOffered()
    const settings = protocol === 'consumer'
      ? { groupProtocol: 'consumer' }
      : { heartbeatInterval: 200, sessionTimeout: 10_000 }
    const consumer = this.consumer(groupId, settings)
    const given = () => {
      const found = consumer.assignments?.find(one => one.topic === topic)
      hears.reassigned(found?.partitions ?? [])
    }
    consumer.on('consumer:group:join', given)
    consumer.on('consumer:group:rebalance', () => hears.reassigned([]))
    // In the consumer protocol there are no events when partitions come and go.
    const looking = setInterval(given, 10)
    const stream = await consumer.consume({
      topics: [topic], mode: 'committed', fallbackMode: 'earliest'
    })
    stream.on('data', message => {
      hears.saw(message.partition, message.value)
      message.commit()
    })
    await hears.leaving
    clearInterval(looking)
    await consumer.close(true)
    hears.reassigned([])
  }

  async createTopic (topic, partitions, replicas, settings) {
    const configs = Object.entries(settings).map(([name, value]) => ({ name, value }))
    await this.admin.createTopics({ topics: [topic], partitions, replicas, configs })
  }

  async growTopic (name, count) {
    await this.admin.createPartitions({ topics: [{ name, count, assignments: null }] })
  }

  async deleteTopic (topic) {
    await this.admin.deleteTopics({ topics: [topic] })
  }

  async partitions (topic) {
    if (!(await this.admin.listTopics()).includes(topic)) return 0
    const { topics } = await this.admin.metadata({ topics: [topic], forceUpdate: true })
    return topics.get(topic).partitionsCount
  }

  async config (topic, name) {
    const resourceType = ConfigResourceTypes.TOPIC
    const resources = [{ resourceType, resourceName: topic, configurationKeys: [name] }]
    return (await this.admin.describeConfigs({ resources }))[0].configs[0].value
  }

  async alterConfig (topic, operation, name, value) {
    const configOperation = IncrementalAlterConfigOperationTypes[operation]
    const resourceType = ConfigResourceTypes.TOPIC
    const configs = [{ name, configOperation, value }]
    await this.admin.incrementalAlterConfigs({
      resources: [{ resourceType, resourceName: topic, configs }]
    })
  }

  async listGroups () {
    return [...(await this.admin.listGroups()).keys()]
  }

  async describeGroup (group) {
    const described = (await this.admin.describeGroups({ groups: [group] })).get(group)
    return [described.state, described.members.size]
  }

  async deleteGroup (group) {
    await this.admin.deleteGroups({ groups: [group] })
  }

  async committed (groupId, topic, partition) {
    const asked = [{ groupId, topics: [{ name: topic, partitionIndexes: [partition] }] }]
    const found = await this.admin.listConsumerGroupOffsets({ groups: asked })
    return Number(found[0].topics[0]?.partitions[0].committedOffset ?? -1)
  }

  async commit (groupId, topic, partition, offset) {
    const partitionOffsets = [{ partition, offset: BigInt(offset) }]
    const topics = [{ name: topic, partitionOffsets }]
    await this.admin.alterConsumerGroupOffsets({ groupId, topics })
  }

  async deleteCommitted (groupId, topic, partition) {
    const topics = [{ name: topic, partitionIndexes: [partition] }]
    await this.admin.deleteConsumerGroupOffsets({ groupId, topics })
  }

  async deleteRecords (topic, partition, before) {
    const partitions = [{ partition, offset: BigInt(before) }]
    await this.admin.deleteRecords({ topics: [{ name: topic, partitions }] })
  }

  async listOffset (topic, partition, at, isolation) {
    const level = isolation === 'committed' ? 'READ_COMMITTED' : 'READ_UNCOMMITTED'
    const found = await this.admin.listOffsets({
      topics: [{ name: topic, partitions: [{ partitionIndex: partition, timestamp: BigInt(at) }] }],
      isolationLevel: FetchIsolationLevels[level]
    })
    return Number(found[0].partitions[0].offset)
  }

  // Errors hold errors, down to the broker's own.
  code (error) {
    if (typeof error?.apiCode === 'number') return error.apiCode
    const inside = [error?.cause, ...(error?.errors ?? [])]
    return inside.filter(Boolean).map(one => this.code(one)).find(code => code !== undefined)
  }
}

module.exports = { connect: bootstrap => new Client(bootstrap) }
