// A page that is open while its server is killed and started again says so, and shows what comes then.

'use strict'

const { heard, invoice, publish, run } = require('./watched.js')

run(async (watched, page) => {
  await watched.open('/')
  await watched.until('the page is live', () => document.querySelector('[data-state="live"]'))
  console.log('live')

  watched.expecting(/net::ERR_/)
  await watched.until('the page says that it is cut off', () => document.querySelector('[data-state="reconnecting"]'))
  await watched.picture('cut-off')
  console.log('cut off')

  await heard('started')
  await watched.until('the page is live again', () => document.querySelector('[data-state="live"]'))
  await publish('shop.invoices', 'InvoiceReceived', 'browser-5', JSON.stringify(invoice('browser-5', '900005')))
  await page.locator('[data-part="events"] tr:has-text("browser-5")').first().waitFor()
})
