// What the members of one group own and read, as they see it, and how they come and go.

'use strict'

const { create, eventually, numbered } = require('./ground.js')

class Sharing {
  owners = new Map()
  owned = new Map()
  read = new Map()
  overlaps = 0
  together = 0

  join (client, group, topic, protocol) {
    return new Member(this, member => client.member(group, topic, protocol, member))
  }

  distinct () {
    return this.read.size
  }

  share (member) {
    return this.owned.get(member)?.size ?? 0
  }
}

// Consumes until it is told to leave.
class Member {
  constructor (shared, consume) {
    this.shared = shared
    this.leaving = new Promise(resolve => { this.goodbye = resolve })
    shared.owned.set(this, new Set())
    this.done = consume(this).catch(failure => { this.failure = failure })
  }

  alive () {
    if (this.failure !== undefined) throw this.failure
    return true
  }

  // Returns when the member is out of the group.
  async leave () {
    this.goodbye()
    await this.done
    this.alive()
  }

  assigned (partitions) {
    const shared = this.shared
    for (const partition of partitions) {
      if ((shared.owners.get(partition) ?? this) !== this) shared.overlaps += 1
      shared.owners.set(partition, this)
      shared.owned.get(this).add(partition)
    }
    const busy = [...shared.owned.values()].filter(owned => owned.size > 0).length
    shared.together = Math.max(shared.together, busy)
  }

  revoked (partitions) {
    const shared = this.shared
    for (const partition of [...partitions]) {
      if (shared.owners.get(partition) === this) shared.owners.delete(partition)
      shared.owned.get(this).delete(partition)
    }
  }

  // For clients that do not say what they lose: everything, before they are given anew.
  reassigned (partitions) {
    this.revoked(this.shared.owned.get(this))
    this.assigned(partitions)
  }

  saw (partition, value) {
    const shared = this.shared
    if (shared.owners.get(partition) !== this) shared.overlaps += 1
    shared.read.set(value, (shared.read.get(value) ?? 0) + 1)
  }
}

// A scenario in which members join and leave while records flow.
function churn (protocol) {
  const partitions = 4
  const batch = 40

  return async (client, prefix) => {
    await create(client, prefix, partitions)
    const producer = await client.producer({})
    const shared = new Sharing()
    let sent = 0

    const flow = async () => {
      const records = numbered(`batch${sent}`, batch)
      await producer.send(prefix, records.map((one, n) => ({ ...one, partition: n % partitions })))
      sent += batch
    }
    const settled = async (...members) => {
      await eventually('each member owns some partitions', () => {
        const shares = members.map(member => member.alive() && shared.share(member))
        return shares.reduce((a, b) => a + b) === partitions && Math.min(...shares) > 0
      })
      await flow()
    }
    const join = async () => {
      await flow()
      return shared.join(client, prefix, prefix, protocol)
    }

    const first = await join()
    await settled(first)
    const second = await join()
    await settled(first, second)
    const third = await join()
    await settled(first, second, third)
    await first.leave()
    await settled(second, third)
    await second.leave()
    await settled(third)
    await eventually('every record', () => third.alive() && shared.distinct() === sent)
    await third.leave()
    await producer.close()
    return {
      read: shared.distinct(),
      'read twice': [...shared.read.values()].reduce((sum, times) => sum + times - 1, 0),
      'two owners': shared.overlaps,
      'owners at a time': shared.together
    }
  }
}

module.exports = { Sharing, churn }
