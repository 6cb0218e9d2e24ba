// A value of a schema is read in the list and in the record, beside the bytes that were written; one that does not fit says why.

'use strict'

const { run } = require('./watched.js')

run(async (watched, page) => {
  await watched.open('/topics/typed')
  const row = text => page.locator(`tbody[data-records] tr:has-text('${text}')`)
  await row('{"id":7,"who":"Ann"}').locator('a[data-open]').click()
  const detail = page.locator('tr.detail')
  await detail.getByText('typed-value version 1').waitFor()
  await detail.getByText('As it was written').click()
  await detail.getByText('00 00 00 00 01').or(detail.getByText('0000000001')).first().waitFor()
  await watched.picture('decoded')

  await page.getByLabel('Text or /regex/').fill('Ann')
  await page.getByRole('button', { name: 'Search', exact: true }).click()
  await row('{"id":7,"who":"Ann"}').waitFor()
  if (await page.locator('tbody[data-records] tr').count() !== 1) throw new Error('more is found than was asked for')

  await watched.open('/topics/typed/0/1')
  await page.getByText('the bytes do not fit the schema').first().waitFor()
  await watched.picture('undecoded')
})
