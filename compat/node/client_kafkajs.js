// kafkajs, with codecs of its own making where it has none.

'use strict'

const zlib = require('node:zlib')
const { lz4Compress, lz4Decompress } = require('@platformatic/wasm-utils')
const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require('kafkajs')
const snappy = require('kafkajs-snappy')

const { EARLIEST, LATEST, NotOffered, eventually } = require('./ground.js')

const codec = (compress, decompress) => () => ({
  compress: async encoder => Buffer.from(compress(encoder.buffer)),
  decompress: async buffer => Buffer.from(decompress(buffer))
})
CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = codec(lz4Compress, lz4Decompress)
CompressionCodecs[CompressionTypes.ZSTD] = codec(zlib.zstdCompressSync, zlib.zstdDecompressSync)

const COMPRESSION = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD
}
const TOPIC = 2
const text = buffer => buffer === null ? null : buffer.toString()

class Sender {
  constructor (producer, codec) {
    this.producer = producer
    this.codec = COMPRESSION[codec ?? 'none']
    this.to = producer
  }

  async send (topic, records) {
    await this.to.send({
      topic,
      acks: -1,
      compression: this.codec,
      messages: records.map(({ key, value, header, partition, timestamp }) => ({
        key, value, headers: { h: header }, partition, timestamp: timestamp?.toString()
      }))
    })
  }

  async begin () {
    this.to = await this.producer.transaction()
  }

  async sendOffset (consumerGroupId, topic, offset) {
    const topics = [{ topic, partitions: [{ partition: 0, offset: offset.toString() }] }]
    await this.to.sendOffsets({ consumerGroupId, topics })
  }

  async commit () {
    await this.to.commit()
  }

  async abort () {
    await this.to.abort()
  }

  async close () {
    await this.producer.disconnect()
  }
}

class Client {
  constructor (bootstrap) {
    const retry = { initialRetryTime: 50 }
    this.kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING, retry })
    this.readers = 0
  }

  async asked (call) {
    this.connected ??= (async () => {
      const admin = this.kafka.admin()
      await admin.connect()
      return admin
    })()
    return call(await this.connected)
  }

  async producer ({ codec, idempotent, transactionalId }) {
    const producer = this.kafka.producer({
      idempotent: idempotent || transactionalId !== undefined,
      transactionalId,
      maxInFlightRequests: transactionalId === undefined ? null : 1,
      allowAutoTopicCreation: false,
      metadataMaxAge: 1000
    })
    await producer.connect()
    return new Sender(producer, codec)
  }

  // There is no reading without a group.
  async read (topic, partitions, count, committed = false) {
    this.readers += 1
    const groupId = `${topic}.reader${this.readers}`
    const consumer = this.kafka.consumer({
      groupId, readUncommitted: !committed, maxWaitTimeInMs: 100
    })
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    const read = []
    await consumer.run({
      eachMessage: async ({ partition, message: { key, value, headers } }) => {
        read.push({ key: text(key), value: text(value), header: text(headers.h), partition })
      }
    })
    await eventually(`${count} records`, () => read.length >= count)
    await consumer.disconnect()
    return read
  }

  async fetchAt () {
    throw new NotOffered()
  }

  async member (groupId, topic, protocol, hears) {
    if (protocol !== 'eager') throw new NotOffered()
    const consumer = this.kafka.consumer({
      groupId, heartbeatInterval: 200, sessionTimeout: 10_000, maxWaitTimeInMs: 100
    })
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      hears.reassigned(payload.memberAssignment[topic] ?? [])
    })
    consumer.on(consumer.events.REBALANCING, () => hears.reassigned([]))
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    await consumer.run({
      eachMessage: async ({ partition, message }) => hears.saw(partition, text(message.value))
    })
    await hears.leaving
    await consumer.stop()
    hears.reassigned([])
    await consumer.disconnect()
  }

  async createTopic (topic, numPartitions, replicationFactor, configs) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    const topics = [{ topic, numPartitions, replicationFactor, configEntries }]
    const made = await this.asked(admin => admin.createTopics({ topics, waitForLeaders: false }))
    // The client answers so to TOPIC_ALREADY_EXISTS.
    if (!made) throw Object.assign(new Error('it is there'), { code: 36 })
  }

  async growTopic (topic, count) {
    await this.asked(admin => admin.createPartitions({ topicPartitions: [{ topic, count }] }))
  }

  async deleteTopic (topic) {
    await this.asked(admin => admin.deleteTopics({ topics: [topic] }))
  }

  async partitions (topic) {
    const listed = await this.asked(admin => admin.fetchTopicMetadata())
    return listed.topics.find(({ name }) => name === topic)?.partitions.length ?? 0
  }

  async config (topic, name) {
    const resources = [{ type: TOPIC, name: topic, configNames: [name] }]
    const asked = admin => admin.describeConfigs({ resources, includeSynonyms: false })
    return (await this.asked(asked)).resources[0].configEntries[0].configValue
  }

  async alterConfig () {
    throw new NotOffered()
  }

  async listGroups () {
    return (await this.asked(admin => admin.listGroups())).groups.map(({ groupId }) => groupId)
  }

  async describeGroup (group) {
    const { groups } = await this.asked(admin => admin.describeGroups([group]))
    return [groups[0].state, groups[0].members.length]
  }

  async deleteGroup (group) {
    await this.asked(admin => admin.deleteGroups([group]))
  }

  async committed (groupId, topic, partition) {
    const found = await this.asked(admin => admin.fetchOffsets({ groupId, topics: [topic] }))
    return Number(found[0].partitions.find(one => one.partition === partition)?.offset ?? -1)
  }

  async commit (groupId, topic, partition, offset) {
    const partitions = [{ partition, offset: offset.toString() }]
    await this.asked(admin => admin.setOffsets({ groupId, topic, partitions }))
  }

  async deleteCommitted () {
    throw new NotOffered()
  }

  async deleteRecords (topic, partition, before) {
    const partitions = [{ partition, offset: before.toString() }]
    await this.asked(admin => admin.deleteTopicRecords({ topic, partitions }))
  }

  // What the client calls the high end is the last stable offset, and it answers with that where
  // the broker found nothing.
  async listOffset (topic, partition, at, isolation) {
    if (isolation === 'uncommitted' || at > Date.now()) throw new NotOffered()
    const found = await this.asked(admin => at < 0
      ? admin.fetchTopicOffsets(topic)
      : admin.fetchTopicOffsetsByTimestamp(topic, at))
    const { high, low, offset } = found.find(one => one.partition === partition)
    return Number({ [LATEST]: high, [EARLIEST]: low }[at] ?? offset)
  }

  // Errors hold errors, down to the broker's own.
  code (error) {
    if (typeof error?.code === 'number') return error.code
    const inside = [
      error?.cause, error?.errors?.[0], error?.partitions?.[0]?.error, error?.groups?.[0]?.error
    ]
    return inside.filter(Boolean).map(one => this.code(one)).find(code => code !== undefined)
  }
}

module.exports = { connect: bootstrap => new Client(bootstrap) }
