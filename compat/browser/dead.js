// A dead key is previewed, redriven in vain, edited, and gone; the audit keeps all of it.

'use strict'

const { api, brokenInvoice, eventually, invoice, publish, run } = require('./watched.js')

const ACCOUNT = 'browser-2'

// Gives the command of the form that is shown, and waits for the audit.
async function give (page, reason) {
  await page.getByLabel('By whom').fill('ann')
  await page.getByLabel('Why').fill(reason)
  await page.locator('form.command button').click()
  await page.waitForURL(/\/dead\/order\/commands/)
  await page.getByText(reason).first().waitFor()
}

run(async (watched, page) => {
  await brokenInvoice(ACCOUNT, '900002')
  // Waits behind it.
  await publish('shop.invoices', 'InvoiceReceived', ACCOUNT, JSON.stringify(invoice(ACCOUNT, '900003')))
  await eventually('the second one waits', async () => {
    return (await api('/dead/order')).cause_list.some(cause => cause.events === 2)
  })

  await watched.open('/dead')
  await watched.picture('dead')
  await page.getByRole('link', { name: 'order', exact: true }).click()
  await watched.picture('dead-service')
  await page.locator('td.cause a', { hasText: 'missing field' }).click()
  await page.getByRole('link', { name: ACCOUNT, exact: true }).click()
  await page.locator('tr.detail').waitFor()
  await watched.picture('dead-key-opened')

  // As it is, nothing comes of redriving it; first there is only a preview.
  await page.locator('tr.detail').getByRole('link', { name: 'Redrive…' }).click()
  await page.getByRole('heading', { name: 'Redrive 1 key?' }).waitFor()
  await watched.picture('dead-preview')
  const { cause_list: [{ keys }] } = await api('/dead/order')
  if (keys !== 1) throw new Error(`a preview has changed something: ${keys} keys`)
  await give(page, 'to see whether it still fails')
  await eventually('it is dead again', async () => {
    const { keys: [key] } = await api('/dead/order/keys')
    return key?.redrives === 1 || key?.attempts > 0
  })

  await watched.open('/dead/order/keys')
  await page.getByRole('link', { name: ACCOUNT, exact: true }).click()
  await page.locator('tr.detail').getByRole('link', { name: 'Edit…' }).click()
  const value = page.getByLabel('New value')
  // JSON is not edited into something else.
  watched.expecting(/status of 422/)
  await value.fill('nothing like it')
  await page.getByLabel('By whom').fill('ann')
  await page.locator('form.command button').click()
  await page.getByText('422').first().waitFor()
  await watched.picture('dead-edit-refused')
  await page.goBack()
  await value.fill(JSON.stringify(invoice(ACCOUNT, '900002')))
  await watched.picture('dead-edit')
  await give(page, 'the till left the lines out')
  await page.getByText('The command was carried out').waitFor()
  await watched.picture('dead-audit')

  await watched.open('/dead/order')
  await page.getByText('No key is dead').waitFor()
  // Both go on: the edited one, and what waited behind it.
  await eventually('both are shipped', async () => {
    const { events } = await api(`/events?q=${ACCOUNT}`)
    return events.filter(event => event.type === 'ShippingScheduled').length === 2
  })
  await watched.open(`/events?q=${ACCOUNT}`)
  await page.locator('td.type:has-text("ShippingScheduled")').nth(1).waitFor()
})
