/**
 * The SOS key without a phone: held 3 s, 5 s to think again, then an alarm that is raised once, whenever the server can be
 * reached, and 10 s of open microphone, which wait for a sound path.
 *
 * The shell calls `down`, `up`, `cancel`, `raised`, `failed` and, when `deadline` has come, `tick`, each with `now` in
 * seconds of one monotonic clock, and carries out the returned acts at once and in order. Pure.
 */
export const HOLD = 3;
export const COUNTDOWN = 5;
export const OPEN = 10;
/** How long the microphone waits for a sound path (s); its OPEN seconds begin when it is heard. */
export const UNHEARD = 60;
export const RETRY = 2;
/** An alarm that could not be sent for so long says nothing any more (s). */
export const KEPT_FOR = 86_400;

/** An alarm on its way. `at`: when it was pressed, this device's clock. `tried`: the server may have it already. */
export interface Pending {
  key: string;
  at: number;
  tried: boolean;
}

export type SosState =
  | { phase: "idle" }
  | { phase: "holding"; since: number }
  | { phase: "countdown"; until: number }
  /** `problem`: why the server did not take it, "" = it was not reached yet. */
  | { phase: "pending"; pending: Pending; trying: boolean; problem: string }
  | { phase: "open"; until: number };

export type SosAct =
  /** The alarm will need a place. */
  | { do: "locate" }
  | { do: "camera" }
  /** Remember it over a reload; null = there is nothing to remember. */
  | { do: "keep"; pending: Pending | null }
  | { do: "raise"; pending: Pending }
  | { do: "close" };

export class SosCore {
  state: SosState = { phase: "idle" };
  private retryAt = 0;

  constructor(private readonly make: () => { key: string; at: number }) {}

  /** When `tick` must be called, null = it need not. */
  get deadline(): number | null {
    const { state } = this;
    switch (state.phase) {
      case "holding":
        return state.since + HOLD;
      case "countdown":
      case "open":
        return state.until;
      case "pending":
        return state.trying ? null : this.retryAt;
      default:
        return null;
    }
  }

  /** An alarm of before the page was loaded. */
  restore(pending: Pending, time: number): SosAct[] {
    if (time - pending.at > KEPT_FOR) return [{ do: "keep", pending: null }];
    this.state = { phase: "pending", pending, trying: false, problem: "" };
    return [];
  }

  down(now: number): void {
    if (this.state.phase === "idle") this.state = { phase: "holding", since: now };
  }

  up(): void {
    if (this.state.phase === "holding") this.state = { phase: "idle" };
  }

  /** As long as nothing was sent. */
  get cancellable(): boolean {
    const { state } = this;
    return state.phase === "countdown" || (state.phase === "pending" && !state.pending.tried);
  }

  cancel(): SosAct[] {
    if (!this.cancellable) return [];
    this.state = { phase: "idle" };
    return [{ do: "keep", pending: null }];
  }

  /** `ready`: the server can be asked. */
  tick(now: number, ready: boolean): SosAct[] {
    const { state } = this;
    switch (state.phase) {
      case "holding":
        if (now < state.since + HOLD) return [];
        this.state = { phase: "countdown", until: now + COUNTDOWN };
        return [{ do: "locate" }];
      case "countdown": {
        if (now < state.until) return [];
        const pending = { ...this.make(), tried: false };
        this.state = { phase: "pending", pending, trying: false, problem: "" };
        this.retryAt = now;
        return [{ do: "keep", pending }, ...this.tick(now, ready), { do: "camera" }];
      }
      case "pending": {
        if (state.trying || !ready || now < this.retryAt) return [];
        const pending = { ...state.pending, tried: true };
        this.state = { ...state, pending, trying: true };
        return [
          { do: "keep", pending },
          { do: "raise", pending },
        ];
      }
      case "open":
        if (now < state.until) return [];
        this.state = { phase: "idle" };
        return [{ do: "close" }];
      default:
        return [];
    }
  }

  /** The server has it. `heard`: the microphone has a sound path already. */
  raised(now: number, heard: boolean): SosAct[] {
    if (this.state.phase !== "pending") return [];
    this.state = { phase: "open", until: now + (heard ? OPEN : UNHEARD) };
    return [{ do: "keep", pending: null }];
  }

  /** The microphone could be opened only now: the time begins again. */
  heard(now: number): void {
    if (this.state.phase === "open") this.state = { phase: "open", until: now + OPEN };
  }

  /** It was not taken, or nobody knows: asked again with the same key, by which it counts once. */
  failed(code: string, now: number): SosAct[] {
    const { state } = this;
    if (state.phase !== "pending") return [];
    this.retryAt = now + RETRY;
    this.state = { ...state, trying: false, problem: code === "offline" ? "" : code };
    return [{ do: "close" }];
  }
}

/** What was kept; what is not an alarm is none. */
export function pendingFrom(kept: unknown): Pending | null {
  const { key, at, tried } = (kept ?? {}) as Partial<Pending>;
  return typeof key === "string" && key && typeof at === "number"
    ? { key, at, tried: tried !== false }
    : null;
}
