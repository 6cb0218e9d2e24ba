// What others write is shown as text, wherever it is shown, and what comes of markup is caught.

'use strict'

const { api, eventually, origin, publish, run } = require('./watched.js')

const SCRIPT = '<script>document.title = "taken"</script>'
const IMAGE = '"><img src=x onerror=\'document.title = "taken"\'>'
const KEY = `${SCRIPT}${IMAGE}`
// As the cause of a death says it, which shows what was read as a quoted text.
const QUOTED = SCRIPT.replaceAll('"', '\\"')

async function shows (watched, page, at, ...wanted) {
  await watched.open(at)
  const text = await page.locator('body').evaluate(body => {
    const fields = [...body.querySelectorAll('input, textarea')].map(field => field.value)
    return [body.textContent, ...fields].join('\n')
  })
  for (const one of wanted) {
    if (!text.includes(one)) throw new Error(`${at} does not show ${one}:\n${text}`)
  }
  const [scripts, images, title] = await page.evaluate(() => {
    const inline = [...document.scripts].filter(script => !script.src)
    return [inline.length, document.images.length, document.title]
  })
  if (scripts + images > 0 || title.includes('taken')) throw new Error(`${at} has taken markup for its own`)
}

run(async (watched, page) => {
  // The watch itself: what must not happen would be seen.
  await watched.open('/topics')
  const before = watched.faults.length
  await page.evaluate(() => {
    const script = document.createElement('script')
    script.textContent = 'document.title = "taken"'
    const image = new Image()
    image.src = 'http://elsewhere.invalid/'
    document.body.append(script, image)
  })
  await eventually('both are refused and told', () => watched.faults.length >= before + 2)
  if (await page.title() === 'taken') throw new Error('the policy lets inline scripts run')
  watched.faults.length = before

  const value = JSON.stringify({ text: KEY, [KEY]: 1 })
  const at = await publish('shop.notifications', `Note${SCRIPT}`, KEY, value)
  const note = JSON.stringify({ export: KEY, invoice: '1', account: KEY })
  await publish('shop.invoices', 'InvoiceReceived', KEY, note)
  const dead = await eventually('the invoice is dead', async () => (await api('/dead/order/keys')).keys[0])
  await eventually('the note is sampled', async () => {
    return (await api('/events')).events.some(event => event.type?.startsWith('Note'))
  })

  const query = encodeURIComponent(KEY)
  await shows(watched, page, '/', IMAGE)
  await shows(watched, page, '/events', IMAGE)
  await shows(watched, page, `/events?q=${query}`, KEY)
  await shows(watched, page, `/topics?q=${query}`, KEY)
  await shows(watched, page, `/groups?q=${query}`, KEY)
  await shows(watched, page, `/services?q=${query}`, KEY)
  await shows(watched, page, `/trace?q=${query}`, KEY)
  await shows(watched, page, `/topics/${at.topic}`, IMAGE)
  await shows(watched, page, `/topics/${at.topic}/${at.partition}/${at.offset}`, SCRIPT, IMAGE.slice(1))
  await watched.picture('markup-record')
  const letter = encodeURIComponent(dead.letter)
  await shows(watched, page, '/dead', QUOTED)
  await shows(watched, page, '/dead/order', QUOTED)
  await shows(watched, page, `/dead/order/keys?open=${letter}`, IMAGE)
  await shows(watched, page, `/dead/order/keys/${letter}`, IMAGE)
  const preview = `/dead/order/command?act=edit&letter=${letter}&by=${query}&reason=${query}`
  await shows(watched, page, preview, KEY)
  await page.getByLabel('By whom').fill(SCRIPT)
  await page.getByLabel('Why').fill(IMAGE)
  await page.locator('form.command button').click()
  await page.waitForURL(/\/dead\/order\/commands/)
  await shows(watched, page, new URL(page.url()).href.slice(origin.length), SCRIPT, IMAGE)
  await watched.picture('markup-audit')
})
