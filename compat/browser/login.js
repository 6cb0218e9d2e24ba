// A person is led to the login page, logs in, is led back when the server has forgotten the session, and logs out.

'use strict'

const { source: axe } = require('axe-core')
const { heard, run } = require('./watched.js')

const TOKEN = process.env.TIDINGS_TOKEN

async function logIn (page, password) {
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Log in' }).click()
}

run(async (watched, page) => {
  await watched.context.addInitScript({ content: axe })
  await watched.open('/events?q=x')
  await page.waitForURL(/\/login\?next=/)
  for (const scheme of ['light', 'dark']) {
    await watched.scheme(scheme)
    const { violations } = await page.evaluate(() => window.axe.run({ resultTypes: ['violations'] }))
    const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact))
    if (serious.length > 0) throw new Error(JSON.stringify(serious))
    await watched.picture(`login-${scheme}`)
  }
  watched.expecting(/status of 403/)
  await logIn(page, 'a guess')
  await page.getByText('not known here').waitFor()
  await watched.picture('login-refused')
  await logIn(page, TOKEN)
  await page.waitForURL(url => url.pathname + url.search === '/events?q=x')
  // No script sees the session.
  if (await page.evaluate(() => document.cookie) !== '') throw new Error('a script sees the cookie')

  await watched.open('/')
  await watched.until('the page is live', () => document.querySelector('[data-state="live"]'))
  console.log('live')
  watched.expecting(/net::ERR_/, /status of 401/)
  await heard('started')
  // A session is not kept over a restart, so the open page leads to where one begins.
  await page.waitForURL(/\/login\?next=%2F$/)
  await logIn(page, TOKEN)
  await watched.until('the page is live again', () => document.querySelector('[data-state="live"]'))
  await page.getByRole('button', { name: 'Log out' }).click()
  await page.waitForURL(url => url.pathname === '/login')
  await watched.open('/topics')
  await page.waitForURL(/\/login\?next=%2Ftopics$/)
})
