/** The SOS key of this phone: `SosCore` with its clock, its place, its microphone and its memory. */
import { computed, effect, type ReadonlySignal, signal } from "@preact/signals";
import { beat, byServer, deviceTime, now, onBeat, serverTime } from "../clock.ts";
import { randomId } from "../link.ts";
import type { Alarm } from "../messages.ts";
import { forget, load, save } from "../storage.ts";
import type { World } from "../store.ts";
import type { Self } from "../voice/calls.ts";
import type { Talk } from "../voice/talk.ts";
import { alarmOfPress, shownAlarm } from "./alarm.ts";
import type { Awake } from "./awake.ts";
import type { Locator } from "./locator.ts";
import { type Pending, pendingFrom, type SosAct, SosCore, type SosState } from "./sos-core.ts";

const KEPT = "sos";
const DISMISSED = "sos-dismissed";
const KEY = "sos"; // of the talk core: what holds the microphone open
const LOOK_S = 3;
const RING_MS = 100; // how often the ring moves

interface SosOptions {
  talk: Talk;
  world: ReadonlySignal<World>;
  self: ReadonlySignal<Self>;
  locator: Locator;
  awake: Awake;
  /** Open the sound path, if it is not: the alarm's microphone needs it. */
  begin: () => void;
  openCamera: () => void;
  /** The server can be asked, and what is known of it is not of before. */
  ready: () => boolean;
}

export class Sos {
  readonly state = signal<SosState>({ phase: "idle" });
  readonly cancellable = signal(false);
  /** Changes while something is counted. */
  readonly at = signal(now());
  /** The alarm of this unit that is open, or was closed a moment ago. */
  readonly alarm = computed<Alarm | null>(() => {
    beat.value; // a closed one leaves after a while
    const { world, self } = this.options;
    return shownAlarm(world.value.alarm.values(), self.value.unit, this.dismissed.value, serverTime());
  });

  private readonly dismissed = signal(load<string>(DISMISSED, ""));
  /** The group of an alarm whose microphone was not heard, because the sound path was not up. */
  private unheard = "";
  private readonly core = new SosCore(() => ({ key: randomId(), at: deviceTime() }));
  private ring: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly options: SosOptions) {}

  start(): void {
    const kept = pendingFrom(load<unknown>(KEPT, null));
    if (kept) this.run(this.core.restore(kept, deviceTime()));
    onBeat(() => this.tick());
    effect(() => this.options.awake.want("sos", this.state.value.phase !== "idle"));
  }

  down(): void {
    this.core.down(now());
    this.run([]);
  }

  up(): void {
    this.core.up();
    this.run([]);
  }

  cancel(): void {
    this.run(this.core.cancel());
  }

  /** A closed alarm need not be seen any more. */
  dismiss(): void {
    this.dismissed.value = this.alarm.peek()?.id ?? "";
    save(DISMISSED, this.dismissed.peek());
  }

  private tick(): void {
    const { talk } = this.options;
    if (this.core.state.phase === "open" && this.unheard && talk.path.peer.phase.peek() === "up") {
      this.talkIn(this.unheard);
      this.core.heard(now());
    }
    this.run(this.core.tick(now(), this.options.ready()));
  }

  private run(acts: SosAct[]): void {
    for (const act of acts) {
      switch (act.do) {
        case "locate":
          this.options.locator.look(LOOK_S);
          this.options.begin();
          break;
        case "camera":
          this.options.openCamera();
          this.options.locator.set(true);
          break;
        case "keep":
          if (act.pending) save(KEPT, act.pending);
          else forget(KEPT);
          break;
        case "raise":
          this.raise(act.pending);
          break;
        case "close":
          this.options.talk.up(KEY);
          break;
      }
    }
    this.state.value = this.core.state;
    this.cancellable.value = this.core.cancellable;
    this.at.value = now();
    const moving = this.core.state.phase !== "idle";
    if (moving) this.ring ??= setInterval(() => this.tick(), RING_MS);
    else {
      clearInterval(this.ring);
      this.ring = undefined;
    }
  }

  /** Raise it, unless the server has it already from a try whose answer was lost. Both open the microphone. */
  private raise(pending: Pending): void {
    const { talk, world, self, locator } = this.options;
    const known = alarmOfPress(world.peek().alarm.values(), self.peek().unit, byServer(pending.at));
    if (known) {
      if (talk.path.peer.phase.peek() === "up") this.talkIn(known.group);
      else this.unheard = known.group;
      this.run(this.core.raised(now(), !this.unheard));
      return;
    }
    talk.emergency(KEY, {
      how: "emergency",
      groups: [],
      emergency: {
        key: pending.key,
        group: "",
        position: locator.last,
        age: Math.max(0, deviceTime() - pending.at),
      },
      raised: (outcome) => {
        if (!outcome.ok) {
          this.run(this.core.failed(outcome.problem.code, now()));
          return;
        }
        const { group, answer } = outcome.value;
        const { phase } = talk.press.peek();
        this.unheard = answer.cause === "no_path" ? group : "";
        // an answer that came so late that the key was given up
        if (answer.state === "granted" && phase !== "requesting" && phase !== "talking") this.talkIn(group);
        this.run(this.core.raised(now(), !this.unheard));
      },
    });
  }

  private talkIn(group: string): void {
    this.unheard = "";
    this.options.talk.emergency(KEY, { how: "groups", groups: [group], urgency: "emergency" });
  }
}
