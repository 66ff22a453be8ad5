/** The server's default classes, in rising order. */
const CLASSES = ['urn:latchkey:acr:1', 'urn:latchkey:acr:2', 'phr', 'phrh'] as const

/** The kind of factor of each authentication method (RFC 8176). */
const KINDS: Readonly<Record<string, string>> = {
  kba: 'knowledge', pin: 'knowledge', pwd: 'knowledge',
  hwk: 'possession', otp: 'possession', pop: 'possession', sc: 'possession', sms: 'possession', swk: 'possession', tel: 'possession',
  face: 'inherence', fpt: 'inherence', iris: 'inherence', retina: 'inherence', vbm: 'inherence',
}

/** Reports whether methods are enough for a class. */
function reaches(name: (typeof CLASSES)[number], methods: readonly string[]): boolean {
  const kinds = new Set(methods.map((method) => KINDS[method]).filter(Boolean))
  switch (name) {
    case 'phrh':
      return methods.includes('hwk') && (kinds.has('knowledge') || kinds.has('inherence'))
    case 'phr':
      return methods.includes('hwk') || methods.includes('swk')
    case 'urn:latchkey:acr:2':
      return kinds.size >= 2
    default:
      return kinds.size >= 1
  }
}

/** Returns the classes that were reached, in rising order, each with the latest time such that the proofs since then suffice. */
export function acrTimes(proofs: ReadonlyMap<string, number>): [string, number][] {
  return CLASSES.flatMap((name) => {
    const since = (at: number) => [...proofs].filter(([, time]) => time >= at).map(([method]) => method)
    const times = [...proofs.values()].filter((at) => reaches(name, since(at)))
    return times.length ? [[name, Math.max(...times)] as [string, number]] : []
  })
}

/** Returns the strongest class that meets a demand (RFC 9470 §5), undefined if none is needed, or null if none meets it. */
export function selectClass(proofs: ReadonlyMap<string, number>, acrValues: string | null, maxAge: string | null, now: number): [string, number] | undefined | null {
  const wanted = acrValues?.split(' ').filter(Boolean) ?? []
  const order = (name: string) => CLASSES.indexOf(name as never)
  const met = acrTimes(proofs).findLast(
    ([name, at]) =>
      (maxAge === null || now - at <= Number(maxAge)) &&
      (wanted.length === 0 || wanted.some((want) => want === name || (order(want) >= 0 && order(name) > order(want)))),
  )
  return met ?? (wanted.length || maxAge !== null ? null : undefined)
}
