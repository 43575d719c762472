/** The all-call's safety catch: the first press arms it for a while, the second one talks. Pure. */
const ARMED_FOR = 3; // s

export class Arming {
  private until = 0;

  /** s left, 0 = not armed. */
  left(now: number): number {
    return Math.max(0, this.until - now);
  }

  /** True: it was armed, this press talks. */
  press(now: number): boolean {
    const armed = now < this.until;
    this.until = armed ? 0 : now + ARMED_FOR;
    return armed;
  }

  disarm(): void {
    this.until = 0;
  }
}
