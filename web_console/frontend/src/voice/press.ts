/**
 * Push-to-talk without a microphone, a socket or a clock: keys go in, what is to be done comes out.
 *
 * The shell calls `down`, `up`, `abandon`, `answered`, `failed`, `told` and, when `deadline` has come, `tick`, each with
 * `now` in seconds of one monotonic clock, and carries out the returned actions at once and in order. Server times are
 * turned into that clock before they come in. Rules: PROTOCOL.md "Talking", console.md 5.1.
 */
import type { Outcome } from "../api.ts";
import type { Commands, EmergencyStarted, FloorAnswer, Talker } from "../messages.ts";
import type { ToneName } from "./tones.ts";

/** The last sound is still on its way out of the browser when the key goes up. */
export const CLOSE_AFTER = 0.06;
export const ALIVE_EVERY = 0.2;
/** The server keeps 1.5 s of what was said before a grant; after this nothing of it can be saved. */
export const ANSWER_WITHIN = 3;
/** So long a refusal stays in sight after the key went up. */
export const SHOWN_FOR = 4;

/** What a press asks for. An emergency's group is only known from the answer. */
export interface Wish {
  how: "groups" | "all_call" | "emergency";
  groups: readonly string[];
  urgency?: "normal" | "peril" | "emergency";
  /** 强插: take the floor from a talker of one's own rank, too. */
  bargeIn?: boolean;
  /** Of an emergency. */
  emergency?: Commands["emergency.start"]["fields"];
  /** Called with what became of its alarm. */
  raised?: (outcome: Outcome<EmergencyStarted>) => void;
}

export type GroupState = "requesting" | "granted" | "queued" | "denied" | "revoked";

/** What became of the press in one group. `until`: the talk limit, in the shell's clock. */
export interface GroupPress {
  state: GroupState;
  since: number;
  until: number | null;
  warned: boolean;
  position: number;
  size: number;
  cause: string;
  talker: Talker | null;
}

/**
 * `refused`: nothing is granted or waited for, and the key must be let go. `closing`: the key is up and the last sound
 * leaves. After a refusal the groups stay in the view for a while.
 */
export type PressPhase = "idle" | "requesting" | "queued" | "talking" | "refused" | "closing";

export interface PressView {
  phase: PressPhase;
  held: boolean;
  microphone: boolean;
  wish: Wish | null;
  groups: ReadonlyMap<string, GroupPress>;
}

export type PressAction =
  | { do: "microphone"; open: boolean }
  | { do: "request"; serial: number; wish: Wish }
  | { do: "release" }
  | { do: "alive" }
  | { do: "tone"; tone: ToneName };

/** As much of a `floor.told` as matters here. */
type Told = Omit<FloorAnswer, "sequence">;

const FRESH: Omit<GroupPress, "state" | "since"> = {
  until: null,
  warned: false,
  position: 0,
  size: 0,
  cause: "",
  talker: null,
};

export const IDLE: PressView = {
  phase: "idle",
  held: false,
  microphone: false,
  wish: null,
  groups: new Map(),
};

export class Press {
  private readonly held = new Set<string>();
  private groups = new Map<string, GroupPress>();
  private wish: Wish | null = null;
  private serial = 0;
  private pressed = false; // a press goes on: the key is down and was not cut off
  private microphone = false;
  private closeAt: number | null = null;
  private aliveAt: number | null = null;
  private answerBy: number | null = null;
  private shownUntil: number | null = null;

  get view(): PressView {
    return {
      phase: this.phase,
      held: this.held.size > 0,
      microphone: this.microphone,
      wish: this.wish,
      groups: new Map(this.groups),
    };
  }

  /** When `tick` must be called, null = it need not. */
  get deadline(): number | null {
    const limits = this.pressed
      ? [...this.groups.values()].flatMap((one) => (one.state === "granted" ? [one.until] : []))
      : [];
    const times = [this.closeAt, this.aliveAt, this.answerBy, this.shownUntil, ...limits];
    const due = times.filter((one) => one !== null);
    return due.length ? Math.min(...due) : null;
  }

  /** A key, pedal or pointer went down. One that is held already, or a second one beside it, changes nothing. */
  down(source: string, wish: Wish, now: number): PressAction[] {
    if (this.held.has(source)) return [];
    this.held.add(source);
    if (this.held.size > 1) return [];
    this.serial += 1;
    this.wish = wish;
    this.pressed = true;
    this.closeAt = null;
    this.shownUntil = null;
    this.aliveAt = now + ALIVE_EVERY;
    this.answerBy = now + ANSWER_WITHIN;
    this.groups = new Map(wish.groups.map((group) => [group, { ...FRESH, state: "requesting", since: now }]));
    return [...this.setMicrophone(true), { do: "request", serial: this.serial, wish }];
  }

  /** As `down`, but it is known here that nothing can come of it. */
  refuse(source: string, cause: string, now: number): PressAction[] {
    if (this.held.has(source)) return [];
    this.held.add(source);
    if (this.held.size > 1) return [];
    this.shownUntil = null;
    this.groups = new Map([["", { ...FRESH, state: "denied", since: now, cause }]]);
    return [{ do: "tone", tone: "busy" }];
  }

  up(source: string, now: number): PressAction[] {
    if (!this.held.delete(source) || this.held.size > 0) return [];
    return this.finish(now, false);
  }

  /**
   * The press is cut off: `cause` is a code of the words for refusals. `letGo`: no key-up will be seen (the window lost
   * the focus); otherwise the key must be let go before the next press.
   */
  abandon(cause: string, letGo: boolean, now: number): PressAction[] {
    if (letGo) this.held.clear();
    const actions: PressAction[] = [];
    if (this.pressed) {
      for (const [group, one] of this.groups) {
        if (isOpen(one)) this.groups.set(group, { ...one, state: "revoked", since: now, cause });
      }
      actions.push(...this.finish(now, true), { do: "tone", tone: "busy" });
    } else if (this.microphone) {
      this.closeAt = null;
      actions.push(...this.setMicrophone(false));
    }
    return actions;
  }

  /** The answer to request number `serial`. */
  answered(serial: number, answers: readonly FloorAnswer[], now: number): PressAction[] {
    if (serial !== this.serial || !this.pressed) return [];
    const before = this.phase;
    for (const answer of answers) this.take(answer, now);
    this.answerBy = null;
    for (const [group, one] of this.groups) {
      if (one.state === "requesting") this.groups.delete(group); // asked for and not answered: no group any more
    }
    return this.settle(before, now);
  }

  /** The request itself was refused: an error code. */
  failed(serial: number, cause: string, now: number): PressAction[] {
    if (serial !== this.serial || !this.pressed) return [];
    const before = this.phase;
    this.answerBy = null;
    if (this.groups.size === 0) this.groups.set("", { ...FRESH, state: "denied", since: now, cause });
    for (const [group, one] of this.groups) {
      if (one.state === "requesting") this.groups.set(group, { ...one, state: "denied", since: now, cause });
    }
    return this.settle(before, now);
  }

  told(message: Told, now: number): PressAction[] {
    const own = this.groups.get(message.group);
    if (message.state === "tail") return [];
    if (!this.pressed) {
      // a grant that crossed our release: nobody talks into it
      return message.state === "granted" ? [{ do: "release" }] : [];
    }
    const before = this.phase;
    if (message.state === "warned") {
      if (own) this.groups.set(message.group, { ...own, warned: true, until: message.until ?? own.until });
      return [];
    }
    if (message.state === "ended") {
      // what was not answered yet cannot have ended: that is the end of the press before
      if (!own || !isOpen(own) || own.state === "requesting") return [];
      this.take({ ...message, state: "revoked", cause: message.cause || "ended" }, now);
    } else {
      this.take(message, now);
    }
    return this.settle(before, now);
  }

  tick(now: number): PressAction[] {
    const actions: PressAction[] = [];
    if (this.closeAt !== null && now >= this.closeAt) {
      this.closeAt = null;
      actions.push(...this.setMicrophone(false));
    }
    if (this.shownUntil !== null && now >= this.shownUntil) this.forget();
    if (!this.pressed) return actions;
    const before = this.phase;
    for (const [group, one] of this.groups) {
      if (one.state !== "granted" || one.until === null || now < one.until) continue;
      this.groups.set(group, { ...one, state: "revoked", since: now, cause: "talk_limit" });
    }
    if (this.answerBy !== null && now >= this.answerBy) {
      return [...actions, ...this.failed(this.serial, "no_answer", now)];
    }
    actions.push(...this.settle(before, now));
    if (this.aliveAt !== null && now >= this.aliveAt) {
      this.aliveAt = now + ALIVE_EVERY;
      actions.push({ do: "alive" });
    }
    return actions;
  }

  private get phase(): PressPhase {
    if (!this.pressed) return this.microphone ? "closing" : this.held.size > 0 ? "refused" : "idle";
    const states = new Set([...this.groups.values()].map((one) => one.state));
    if (states.has("granted")) return "talking";
    if (this.answerBy !== null) return "requesting";
    return states.has("queued") ? "queued" : "refused";
  }

  private take(answer: Told, now: number): void {
    const own = this.groups.get(answer.group);
    const { until, position, size, cause, talker } = answer;
    const state = STATES.find((one) => one === answer.state);
    if (!state) return;
    const since = own?.state === state ? own.since : now;
    this.groups.set(answer.group, { ...FRESH, state, since, until, position, size, cause, talker });
  }

  /** After a change: the microphone is open exactly while something is granted or not answered yet. */
  private settle(before: PressPhase, now: number): PressAction[] {
    const phase = this.phase;
    const actions = this.setMicrophone(phase === "talking" || phase === "requesting");
    if (phase === "refused") {
      this.pressed = false; // and nothing is kept alive; `release` follows when the key goes up
      this.aliveAt = null;
      this.shownUntil = this.held.size > 0 ? null : now + SHOWN_FOR;
    }
    if (phase !== before) {
      const tone = TONE[phase];
      if (tone) actions.push({ do: "tone", tone });
    }
    return actions;
  }

  /** The key is up, or the press is cut off (then the microphone closes at once). */
  private finish(now: number, cut: boolean): PressAction[] {
    const pressed = this.pressed;
    this.pressed = false;
    this.aliveAt = null;
    this.answerBy = null;
    const actions: PressAction[] = [];
    for (const [group, one] of this.groups) if (isOpen(one)) this.groups.delete(group);
    if (this.groups.size === 0 && this.held.size === 0) this.wish = null;
    this.shownUntil = this.groups.size > 0 && this.held.size === 0 ? now + SHOWN_FOR : null;
    if (cut) {
      this.closeAt = null;
      actions.push(...this.setMicrophone(false));
    } else if (this.microphone) {
      this.closeAt = now + CLOSE_AFTER;
    }
    // also after a refusal: so the server knows that the key was let go
    if (pressed || this.held.size === 0) actions.push({ do: "release" });
    return actions;
  }

  private forget(): void {
    this.shownUntil = null;
    this.groups = new Map();
    this.wish = null;
  }

  private setMicrophone(open: boolean): PressAction[] {
    if (this.microphone === open) return [];
    this.microphone = open;
    return [{ do: "microphone", open }];
  }
}

const STATES: readonly GroupState[] = ["granted", "queued", "denied", "revoked"];
const TONE: Partial<Record<PressPhase, ToneName>> = {
  talking: "granted",
  queued: "queued",
  refused: "busy",
};

function isOpen(one: GroupPress): boolean {
  return one.state === "requesting" || one.state === "granted" || one.state === "queued";
}
