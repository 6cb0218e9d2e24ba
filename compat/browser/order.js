// An order is watched from the till to its shipment, on pages alone.

'use strict'

const { eventually, invoice, publish, run } = require('./watched.js')

const ACCOUNT = 'browser-1'
const SAID = [
  'InvoiceReceived', 'OrderPlaced', 'PaymentCompleted', 'StockReserved', 'ShippingScheduled', 'OrderCompleted',
  'NotificationSent'
]

run(async (watched, page) => {
  await watched.open('/')
  await watched.until('the page is live', () => document.querySelector('[data-state="live"]'))
  await publish('shop.invoices', 'InvoiceReceived', ACCOUNT, JSON.stringify(invoice(ACCOUNT, '900001')))
  // Without a reload.
  const shipped = `[data-part="events"] tr:has-text("ShippingScheduled"):has-text("${ACCOUNT}")`
  await page.locator(shipped).first().waitFor()
  await watched.picture('overview')

  await page.locator(shipped).first().locator('td.type a').click()
  await page.waitForURL(/\/topics\/shop\.shipping\/\d+\/\d+$/)
  const correlation = page.locator('dt:text-is("Correlation") + dd a')
  await watched.picture('record')
  await correlation.click()
  await page.waitForURL(/\/trace\?q=/)
  // Its life goes on while it is looked at.
  await eventually('the whole life is drawn', async () => {
    await page.reload()
    const drawn = await page.locator('svg.graph').textContent()
    return SAID.every(type => drawn.includes(type))
  })
  await watched.picture('life-of-an-order')
})
