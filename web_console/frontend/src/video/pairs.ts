/**
 * Which pair of sections of the peer connection carries which slot: in the order in which slots were first needed, for
 * pairs are only added at the end and never removed. Pure.
 */
export class Pairs {
  private readonly slots: number[] = [];

  get count(): number {
    return this.slots.length;
  }

  /** True when there is a new pair. */
  need(slot: number): boolean {
    if (this.slots.includes(slot)) return false;
    this.slots.push(slot);
    return true;
  }

  /** The pair of a slot, -1 = it has none. */
  of(slot: number): number {
    return this.slots.indexOf(slot);
  }

  /** The slot of a pair, -1 = there is no such pair. */
  slot(pair: number): number {
    return this.slots[pair] ?? -1;
  }
}
