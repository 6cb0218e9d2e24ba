// A real browser whose pages are watched: what a page must never do is a fault wherever it happens.
//
// A fault is: a request that leaves the server, a violation of the pages' policy, an exception or an error in
// the console. Whoever expects some says so (`expecting`). Waiting is always for a condition, with PATIENCE_MS
// at most; nothing sleeps.

'use strict'

const fs = require('node:fs')
const path = require('node:path')
const readline = require('node:readline')
const { chromium } = require('playwright-core')

const PATIENCE_MS = 40_000
const DESK = { width: 1280, height: 900 }
const PHONE = { width: 375, height: 740 }

// What the tests were told: where the server is, and where pictures go.
const [origin, pictures] = process.argv.slice(2)

// The lines that the test says.
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()

async function heard (wanted) {
  const { value } = await lines.next()
  if (value !== wanted) throw new Error(`heard ${JSON.stringify(value)}, not ${wanted}`)
}

class Watched {
  constructor (browser, context, page) {
    Object.assign(this, { browser, context, page })
    this.faults = []
    this.expected = []
  }

  // Begins to watch every page of the browser.
  watch () {
    const fault = (what) => {
      if (!this.expected.some(pattern => pattern.test(what))) this.faults.push(what)
    }
    this.context.on('request', request => {
      if (new URL(request.url()).origin !== origin) fault(`a request left: ${request.url()}`)
    })
    this.context.on('console', message => {
      if (['error', 'warning'].includes(message.type())) {
        fault(`${message.page()?.url()}: ${message.type()}: ${message.text()}`)
      }
    })
    this.context.on('weberror', ({ error }) => fault(`an exception: ${error()}`))
  }

  // From now on what is like this is no fault.
  expecting (...patterns) {
    this.expected.push(...patterns)
  }

  // Opens a page of the server, which must answer as wanted.
  async open (at, status = 200) {
    const response = await this.page.goto(origin + at)
    if (response.status() !== status) throw new Error(`${at}: ${response.status()}`)
    return response
  }

  // A picture for whoever looks at the pages.
  async picture (name) {
    await this.page.screenshot({ path: path.join(pictures, `${name}.png`), fullPage: true })
  }

  // Waits for something that is told in the page, and says what was missed when it does not come.
  async until (what, condition, argument) {
    try {
      await this.page.waitForFunction(condition, argument, { timeout: PATIENCE_MS })
    } catch (error) {
      await this.picture('missed')
      const shown = await this.page.locator('body').innerText()
      throw new Error(`${what}: ${error.message}\n--- ${this.page.url()}\n${shown}`)
    }
  }

  async text () {
    return await this.page.locator('body').innerText()
  }

  async scheme (colorScheme) {
    await this.page.emulateMedia({ colorScheme })
  }
}

// Runs a scenario in a browser of its own; its faults end the program with code 1.
async function play (scenario, options = {}) {
  fs.mkdirSync(pictures, { recursive: true })
  const browser = await chromium.launch({
    executablePath: process.env.TIDINGS_CHROMIUM,
    // Tests run as root in containers, where Chromium has no sandbox.
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage']
  })
  try {
    const context = await browser.newContext({ viewport: DESK, reducedMotion: 'reduce', ...options })
    context.setDefaultTimeout(PATIENCE_MS)
    const page = await context.newPage()
    const watched = new Watched(browser, context, page)
    watched.watch()
    await scenario(watched, page)
    if (watched.faults.length > 0) throw new Error(watched.faults.join('\n'))
    console.log('seen')
  } finally {
    await browser.close()
  }
}

function run (scenario, options) {
  play(scenario, options).then(() => process.exit(0), error => {
    console.error(error)
    process.exit(1)
  })
}

// Publishes an event as a till without the SDK does.
async function publish (topic, type, key, data) {
  const query = new URLSearchParams({ key, type })
  const response = await fetch(`${origin}/api/topics/${topic}/events?${query}`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: data
  })
  if (response.status !== 202) throw new Error(`${response.status}: ${await response.text()}`)
  return (await response.json()).events[0]
}

async function api (at) {
  const response = await fetch(`${origin}/api${at}`)
  if (response.status !== 200) throw new Error(`${at}: ${response.status}`)
  return await response.json()
}

// Waits for a condition that nothing tells of.
async function eventually (what, holds) {
  const deadline = Date.now() + PATIENCE_MS
  for (;;) {
    const found = await holds()
    if (found) return found
    if (Date.now() > deadline) throw new Error(`not within ${PATIENCE_MS} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

// An invoice that the shop takes.
function invoice (account, number) {
  const lines = [{ article: '85123A', units: 1, pence: 255 }]
  const country = 'France'
  return { export: 1, invoice: number, account, customer: account, country, at_ms: 1291191960000, lines }
}

// Waits until the service `order` has given up the key of an invoice that says too little.
async function brokenInvoice (account, number) {
  const { export: of, invoice: its } = invoice(account, number)
  await publish('shop.invoices', 'InvoiceReceived', account, JSON.stringify({ export: of, invoice: its, account }))
  await eventually(`${account} is dead`, async () => {
    const { services } = await api('/dead')
    return services.some(line => line.service === 'order' && line.keys > 0)
  })
}

module.exports = { DESK, PHONE, api, brokenInvoice, eventually, heard, invoice, origin, publish, run }
