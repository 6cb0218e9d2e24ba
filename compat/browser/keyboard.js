// Every place is reached by keys, and where the focus is, is seen.

'use strict'

const { DESK, PHONE, run } = require('./watched.js')

const PLACES = { t: '/topics', g: '/groups', s: '/services', e: '/events', r: '/trace', m: '/map', d: '/dead', o: '/' }
// More than any page of the shop has to stop at.
const STOPS_MAX = 400

function focused () {
  const at = document.activeElement
  if (!at || at === document.body) return null
  const { outlineStyle, outlineWidth } = getComputedStyle(at)
  const box = at.getBoundingClientRect()
  const marked = outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1
  const seen = box.width > 0 && box.height > 0 && box.bottom > 0 && box.right > 0 &&
    box.top < innerHeight && box.left < innerWidth
  return { what: at.outerHTML.slice(0, 120), marked, seen, place: [...document.querySelectorAll('*')].indexOf(at) }
}

// Goes through the whole page with Tab.
async function goThrough (page) {
  const stops = []
  for (let stop = 0; stop < STOPS_MAX; stop++) {
    await page.keyboard.press('Tab')
    const at = await page.evaluate(focused)
    if (at === null || (stops.length > 0 && at.place === stops[0].place)) return stops
    if (!at.marked || !at.seen) throw new Error(`${page.url()}: the focus is not seen: ${JSON.stringify(at)}`)
    if (stops.length > 0 && at.place < stops.at(-1).place) throw new Error(`out of order: ${at.what}`)
    stops.push(at)
  }
  throw new Error(`${page.url()}: no end after ${STOPS_MAX} stops`)
}

run(async (watched, page) => {
  await watched.open('/')
  for (const [key, place] of Object.entries(PLACES)) {
    await page.keyboard.press('g')
    await page.keyboard.press(key)
    await page.waitForURL(url => url.pathname === place)
  }

  await watched.open('/topics')
  await page.keyboard.press('/')
  await page.keyboard.type('shop.or')
  await watched.until('the rows are filtered', () => {
    const shown = [...document.querySelectorAll('[data-rows] tbody tr')].filter(row => row.checkVisibility())
    return shown.length === 1 && shown[0].textContent.includes('shop.orders')
  })
  // Letters that are typed lead nowhere.
  await page.keyboard.press('g')
  await page.keyboard.press('t')
  await page.keyboard.press('Escape')
  if (await page.evaluate(() => document.activeElement !== document.body)) throw new Error('Escape leaves no field')
  await page.keyboard.press('?')
  await page.locator('dialog[open]').waitFor()
  await watched.picture('keys')
  await page.keyboard.press('Escape')
  await page.locator('dialog[open]').waitFor({ state: 'detached' })
  if (new URL(page.url()).pathname !== '/topics') throw new Error(page.url())

  await watched.open('/events')
  await page.keyboard.press('/')
  await watched.until('the field has the focus', () => document.activeElement.matches('input[type="search"]'))

  for (const viewport of [DESK, PHONE]) {
    await page.setViewportSize(viewport)
    for (const at of ['/', '/groups', '/dead']) {
      await watched.open(at)
      const stops = await goThrough(page)
      if (stops.length < 10) throw new Error(`${at}: only ${stops.length} stops`)
    }
  }
})
