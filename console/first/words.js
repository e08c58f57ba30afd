// How figures, dates and nodes are written. Everything becomes text nodes: nothing is ever parsed as HTML.

export const whole = n => new Intl.NumberFormat().format(n)
export const money = (amount, currency) => new Intl.NumberFormat(undefined, { style: 'currency', currency }).format(amount)
/** A price of one point, which may be less than the smallest coin. */
export const rate = (amount, currency) => new Intl.NumberFormat(undefined, { style: 'currency', currency, maximumFractionDigits: 6 }).format(amount)
export const day = iso => iso ? new Date(iso).toLocaleDateString(undefined, { year: 'numeric', month: 'short', day: 'numeric' }) : '—'
/** The calendar day of an instant where the shop is: levels and points end there at midnight. */
export const dayThere = (iso, zone) => iso ? new Date(iso).toLocaleDateString(undefined, { year: 'numeric', month: 'short', day: 'numeric', timeZone: zone }) : '—'
/** The last day before an instant, where the shop is: a level until New Year is held on New Year's Eve. */
export const lastDayThere = (iso, zone) => dayThere(new Date(Date.parse(iso) - 1).toISOString(), zone)
/** Levels that end with no year are dated at the end of time. */
export const endless = iso => !iso || iso.startsWith('9998') || iso.startsWith('9999')
export const clock = iso => new Date(iso).toLocaleTimeString()
export const instant = iso => new Date(iso).toLocaleString(undefined, { year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' })
export const title = id => { const words = id.replace(/[-_]/g, ' '); return words.charAt(0).toUpperCase() + words.slice(1) }
export const plural = (n, one, many = `${one}s`) => `${whole(n)} ${n === 1 ? one : many}`
/** `they(1, 'member', 'holds', 'hold')` is `1 member holds`. */
export const they = (n, who, does, do_) => `${plural(n, who)} ${n === 1 ? does : do_}`

/** `waste_kg` and 1.2 as `1.2 kg waste`, `trees` and 3 as `3 trees`, and 1 as `1 tree`. */
export function impactOf(unit, n) {
  const [, what, measure] = unit.match(/^(.*)_(kg|g|l|km|m|kwh)$/) ?? []
  if (measure) return `${whole(n)} ${measure} ${what.replace(/_/g, ' ')}`
  const counted = unit.replace(/_/g, ' ')
  return `${whole(n)} ${Number(n) === 1 ? counted.replace(/([^s])s$/, '$1') : counted}`
}

/** An element: `el('td.n', {}, 'text', child)`; attributes that are functions become listeners. */
export function el(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split('.')
  const node = document.createElement(tag)
  if (classes.length) node.className = classes.join(' ')
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') node.addEventListener(name, value)
    else if (value === true) node.setAttribute(name, '')
    else if (value !== false && value != null) node.setAttribute(name, value)
  }
  node.append(...children.flat().filter(c => c != null && c !== false))
  return node
}

export const figure = text => el('span.figure', {}, text)

/**
 * A table with a finding for its title. `columns`: [heading, class]. `kind`: `tall` scrolls within its height, `wide`
 * keeps each cell on one line, `story` stands in one column on a narrow screen; there the roles keep it a table.
 */
export function table(finding, about, columns, rows, kind = '') {
  const head = el('tr', { role: 'row' }, columns.map(([name, sort]) => el(`th${sort === 'n' ? '.n' : ''}${sort === 'bar' ? '.barred' : ''}`, { scope: 'col', role: 'columnheader' }, name)))
  const body = rows.map(cells => el('tr', { role: 'row' }, cells.map((cell, i) => i === 0
    ? el(`th${columns[0][1] === 'n' ? '.n' : ''}`, { scope: 'row', role: 'rowheader' }, cell)
    : el(`td${columns[i][1] === 'n' ? '.n' : ''}`, { role: 'cell' }, cell))))
  const caption = el('caption', {}, finding, about ? el('small', {}, about) : null)
  const whole = el('table', { role: 'table' }, caption, el('thead', { role: 'rowgroup' }, head), el('tbody', { role: 'rowgroup' }, body))
  return el(['div', 'scroll', ...kind.split(' ').filter(Boolean)].join('.'), { tabindex: 0, role: 'region', 'aria-label': finding }, whole)
}

/** A bar beside its figure, which is what readers of the table hear. */
export function bar(value, most, outline = false) {
  if (!value) return ''
  const node = el(`span.bar${outline ? '.outline' : ''}`, { 'aria-hidden': 'true' })
  node.style.width = `${most > 0 ? Math.max(0, 100 * value / most) : 0}%`
  return node
}
