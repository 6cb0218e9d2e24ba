// Records are seen as they come, are found again, are opened in place, and are produced.

'use strict'

const { invoice, publish, run } = require('./watched.js')

const TOPIC = 'shop.invoices'
const ACCOUNT = 'browser-6'

run(async (watched, page) => {
  const row = number => page.locator(`tbody[data-records] tr:has-text("${ACCOUNT}"):has-text("${number}")`)
  const sent = number => publish(TOPIC, 'InvoiceReceived', ACCOUNT, JSON.stringify(invoice(ACCOUNT, number)))

  await watched.open(`/topics/${TOPIC}`)
  await page.getByRole('link', { name: 'Live tail' }).click()
  await watched.until('it follows', () => document.querySelector('[data-tail-state]').dataset.state === 'live')
  // Without a reload, the newest first.
  await sent('900030')
  await row('900030').waitFor()
  await sent('900031')
  await row('900031').waitFor()
  await watched.until('the newest is first', number => {
    return document.querySelector('tbody[data-records] tr').textContent.includes(number)
  }, '900031')
  await watched.picture('tail')

  await page.getByRole('link', { name: 'Stop the tail' }).click()
  await page.getByLabel('Text or /regex/').fill('/"invoice":"90003[0]"/')
  await page.getByRole('button', { name: 'Search', exact: true }).click()
  await row('900030').waitFor()
  if (await page.locator('tbody[data-records] tr').count() !== 1) throw new Error('more is found than was asked for')
  await row('900030').locator('a[data-open]').click()
  await page.locator('tr.detail').getByText('Envelope').waitFor()
  await watched.picture('found')

  // What is refused is still there to be put right.
  await page.getByRole('link', { name: 'Produce…' }).click()
  await page.locator('form.command input[name="key"]').fill(ACCOUNT)
  const value = page.locator('textarea[name="value"]')
  await value.fill('{"invoice":')
  watched.expecting(/status of 4\d\d/)
  await page.getByRole('button', { name: 'Produce', exact: true }).click()
  await page.getByRole('alert').waitFor()
  if (await value.inputValue() !== '{"invoice":') throw new Error('what was typed is gone')
  await watched.picture('produce-refused')
  await value.fill('{"invoice":"900032"}')
  await page.getByRole('button', { name: 'Produce', exact: true }).click()
  await page.waitForURL(/\/topics\/shop\.invoices\/\d+\/\d+$/)
  await page.getByText('900032').first().waitFor()
})
