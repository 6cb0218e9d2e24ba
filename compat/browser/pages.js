// Every page that a link leads to, one of each kind: no serious fault by axe in either scheme, nothing beside a
// phone's screen, and nothing that the watch catches.

'use strict'

const { source: axe } = require('axe-core')
const { DESK, PHONE, api, brokenInvoice, eventually, origin, run } = require('./watched.js')

const PHONE_PICTURES = ['/', '/groups', '/dead']
// More kinds of pages than there are; a link that makes ever new ones must not be followed for ever.
const KINDS_MAX = 60

// What is somebody's name is no kind of page. Topics and groups are sampled once a second.
async function namesOf () {
  const [topics, groups, dead] = await Promise.all([api('/topics'), api('/groups'), api('/dead')])
  const has = (list, name) => list.some(one => one.name === name)
  if (!has(topics.topics, 'order.dead') || !has(groups.groups, 'analytics')) return null
  return new Set([
    ...topics.topics.map(topic => topic.name), ...groups.groups.map(group => group.name),
    ...dead.services.map(line => line.service)
  ])
}

function kindOf (url, names) {
  const segments = url.pathname.split('/').map(decodeURIComponent)
  const name = segment => names.has(segment) || /[0-9]/.test(segment) ? '*' : segment
  return [...segments.map(name)].join('/') + [...url.searchParams.keys()].map(key => `?${key}`).sort().join('')
}

async function check (watched, page, kind) {
  const found = []
  for (const scheme of ['light', 'dark']) {
    await watched.scheme(scheme)
    const { violations } = await page.evaluate(() => window.axe.run({ resultTypes: ['violations'] }))
    for (const { id, impact, help, nodes } of violations) {
      if (!['serious', 'critical'].includes(impact)) continue
      const where = nodes.slice(0, 3).map(({ html, failureSummary }) => `\n    ${html}\n    ${failureSummary}`)
      found.push(`${kind} (${scheme}): ${id}, ${nodes.length} times: ${help}${where.join('')}`)
    }
    await watched.picture(`page${kind.replace(/[^a-z]+/g, '-')}-${scheme}`)
  }
  await page.setViewportSize(PHONE)
  const beyond = await page.evaluate(() => {
    const { scrollWidth } = document.documentElement
    if (scrollWidth <= innerWidth) return null
    const wide = [...document.querySelectorAll('body *')].filter(one => {
      return one.getBoundingClientRect().right > innerWidth && !one.closest('.scroll')
    })
    return `${scrollWidth} px: ${wide.slice(0, 3).map(one => one.outerHTML.slice(0, 100)).join(' ')}`
  })
  if (beyond !== null) found.push(`${kind} on a phone: ${beyond}`)
  if (beyond !== null || PHONE_PICTURES.includes(kind)) {
    await watched.picture(`page${kind.replace(/[^a-z]+/g, '-')}-phone`)
  }
  await page.setViewportSize(DESK)
  await watched.scheme('light')
  return found
}

async function links (page) {
  // A link of a drawing has its address in a value of its own.
  const address = links => links.map(link => new URL(link.href.baseVal ?? link.href, link.baseURI).href)
  // What is downloaded is no page.
  const all = await page.locator('a[href]:not([download])').evaluateAll(address)
  return all.map(href => new URL(href)).filter(url => url.origin === origin)
}

run(async (watched, page) => {
  await brokenInvoice('browser-3', '900004')
  const names = await eventually('all is sampled', namesOf)
  const visited = new Set()
  const found = []
  const waiting = [new URL(origin), new URL('/no-such-page', origin)]
  watched.expecting(/no-such-page.*status of 404/)
  await watched.context.addInitScript({ content: axe })
  while (waiting.length > 0) {
    const url = waiting.shift()
    const kind = kindOf(url, names)
    if (visited.has(kind)) continue
    visited.add(kind)
    if (visited.size > KINDS_MAX) throw new Error(`there is no end of pages: ${[...visited].join(' ')}`)
    const response = await page.goto(url.href)
    if (!response.headers()['content-type'].startsWith('text/html')) continue
    if (response.status() !== 200 && kind !== '/no-such-page') found.push(`${url}: ${response.status()}`)
    waiting.push(...await links(page))
    found.push(...await check(watched, page, kind))
  }
  console.log([...visited].join('\n'))
  const wanted = [
    '/', '/topics', '/topics/*', '/topics/*/*/*', '/groups', '/groups/*', '/groups/*/reset', '/services', '/services/*', '/events',
    '/trace', '/trace?q', '/map', '/dead', '/dead/*', '/dead/*/commands'
  ]
  for (const kind of wanted) {
    if (!visited.has(kind)) found.push(`no link leads to ${kind}`)
  }
  if (found.length > 0) throw new Error(found.join('\n'))
})
