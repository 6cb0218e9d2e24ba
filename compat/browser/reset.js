// A group without members is reset to what was looked at, and one with members is not.

'use strict'

const { api, eventually, invoice, publish, run } = require('./watched.js')

const GROUP = 'accounting'
const ACCOUNT = 'browser-5'

// How many records the group has still to read.
async function lag () {
  const { offsets } = await api(`/groups/${GROUP}`)
  return offsets.reduce((sum, { lag }) => sum + lag, 0)
}

async function look (page, to) {
  await page.locator('select[name="to"]').selectOption(to)
  await page.getByRole('button', { name: 'Look' }).click()
  await page.getByRole('heading', { name: 'What would be set' }).waitFor()
}

run(async (watched, page) => {
  for (const number of ['900020', '900021', '900022']) {
    await publish('shop.invoices', 'InvoiceReceived', ACCOUNT, JSON.stringify(invoice(ACCOUNT, number)))
  }
  await eventually('the group is behind', async () => await lag() >= 3)

  await watched.open('/groups')
  await page.getByRole('link', { name: GROUP, exact: true }).first().click()
  await page.getByRole('link', { name: 'Reset…' }).click()
  await look(page, 'end')
  await page.locator('section.panel header .hint', { hasText: 'are passed over' }).waitFor()
  await watched.picture('reset-preview')
  if (await lag() < 3) throw new Error('a look has set something')
  await page.getByRole('button', { name: /^Set \d+ positions?$/ }).click()
  await page.getByText(/positions? (was|were) set/).waitFor()
  await eventually('nothing is left to read', async () => await lag() === 0)

  // Back again, and left alone.
  await page.getByRole('link', { name: 'Reset…' }).click()
  await look(page, 'start')
  await page.locator('section.panel header .hint', { hasText: 'are read again' }).waitFor()
  await page.getByRole('link', { name: 'Leave it' }).click()
  await page.waitForURL(new RegExp(`/groups/${GROUP}$`))
  if (await lag() !== 0) throw new Error('what was left alone was set')

  await watched.open('/groups/order/reset')
  await look(page, 'start')
  await page.getByText(/^It has 1 member/).waitFor()
  if (await page.getByRole('button', { name: /^Set/ }).count() > 0) throw new Error('a group with a member can be reset')
  await watched.picture('reset-refused')
})
