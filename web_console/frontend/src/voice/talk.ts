/**
 * Talking and listening, as console and phone page do it: the keys' state machine, the sound path, what is tuned to and
 * where it is heard. Views read the signals; what a person does calls a function.
 */
import { computed, effect, type ReadonlySignal, type Signal, signal, untracked } from "@preact/signals";
import { now, onBeat, serverTime } from "../clock.ts";
import type { Link } from "../link.ts";
import type { FloorTold, MediaStep, VoiceSlot } from "../messages.ts";
import { load, save } from "../storage.ts";
import { EMPTY, type World } from "../store.ts";
import { announce } from "./announce.ts";
import { callsOf, type Self } from "./calls.ts";
import * as levels from "./levels.ts";
import { IDLE, Press, type PressAction, type PressView, type Wish } from "./press.ts";
import { Shift } from "./shift.ts";
import { SoundPath, VOICE_SLOTS } from "./sound-path.ts";
import * as tunings from "./tuning.ts";

interface Levels {
  selected: number;
  unselected: number;
  slots: readonly number[];
}

const SILENT: Levels = { selected: 0, unselected: 0, slots: Array.from({ length: VOICE_SLOTS }, () => 0) };
const METER_MS = 80;
const RETUNE_S = 2;
const ENDED_SHOWN_MS = 4000;

interface TalkOptions {
  link: Link;
  world: ReadonlySignal<World>;
  self: ReadonlySignal<Self>;
  /** Distinguishes what is kept for several people at one browser. */
  owner: string;
  /** An officer's desk is told by tones of alarms and call-backs, and keeps the screen on. */
  officer: boolean;
}

export class Talk {
  readonly press = signal<PressView>(IDLE);
  readonly tuning: Signal<tunings.Tuning>;
  readonly volumes: Signal<levels.Volumes>;
  readonly levels = signal<Levels>(SILENT);
  readonly shift: Shift;
  readonly path: SoundPath;
  /** Calls that were started or taken here. */
  private readonly ownCalls = signal<ReadonlySet<string>>(new Set());
  readonly calls = computed(() =>
    callsOf(this.options.world.value.call.values(), this.options.self.value, this.ownCalls.value),
  );

  private readonly core = new Press();
  private readonly link: Link;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private tuned = ""; // what the server has confirmed
  private saying = ""; // what was said and not answered
  private retuneAt = 0;
  private keyOpen = false;
  private lost = false;
  private before: World = EMPTY;

  constructor(private readonly options: TalkOptions) {
    this.link = options.link;
    this.tuning = signal(tunings.tuningFrom(load(this.key("tuning"), null)));
    this.volumes = signal(levels.volumesFrom(load(this.key("volumes"), null)));
    this.shift = new Shift(() => this.cut("device", false), options.officer);
    this.path = new SoundPath(this.link);
  }

  start(): void {
    addEventListener("blur", () => {
      // a browser that asks for the camera takes the focus; an emergency's microphone has an end of its own
      if (!isEmergency(this.press.peek().wish)) this.cut("blur", true);
    });
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.cut("hidden", true);
    });
    addEventListener("pagehide", () => this.cut("hidden", true));
    document.addEventListener("freeze", () => this.cut("hidden", true));
    onBeat((at) => this.beat(at));
    effect(() => {
      const { phase, everReady } = this.link.status.value;
      untracked(() => this.linkIs(phase === "ready", everReady));
    });
    effect(() => this.path.setTrack(this.shift.microphone.track.value));
    effect(() => {
      const open = this.calls.value.open;
      this.path.setActive(this.keyOpen || open);
    });
    effect(() => {
      const on = this.shift.state.value !== "off";
      untracked(() => (on ? this.path.peer.start() : this.path.peer.stop()));
    });
    effect(() => this.flushTuning());
    effect(() => this.route());
    effect(() => this.announce());
    effect(() => this.forgetEndedCalls());
    setInterval(() => this.measure(), METER_MS);
    if (this.shift.wasOn) void this.shift.start(false);
  }

  // ------------------------------------------------------------------ server

  /** After every hello that was not resumed the server listens for us to nothing. */
  helloed(resumed: boolean): void {
    if (!resumed) this.tuned = "";
    this.saying = "";
    this.path.helloed(resumed);
    this.flushTuning();
  }

  told(message: FloorTold | VoiceSlot | MediaStep): void {
    if (message.type === "floor.told") {
      this.run(this.core.told({ ...message, until: pageTime(message.until) }, now()));
      return;
    }
    this.path.told(message);
    if (message.type === "voice.slot" && message.call) this.own(message.call);
  }

  // ------------------------------------------------------------------ keys

  /** Which groups the key talks in now; in a half-duplex call it talks to the other end. */
  get target(): readonly string[] {
    const { current } = this.calls.value;
    if (current?.state === "active" && current.group) return [current.group];
    return tunings.tune(this.tuning.value, this.options.world.value.group.values()).selected;
  }

  down(source: string, wish?: Wish): void {
    const wanted = wish ?? { how: "groups", groups: this.target };
    const cause = this.impossible(wanted);
    if (cause) this.run(this.core.refuse(source, cause, now()));
    else this.run(this.core.down(source, wanted, now()));
  }

  /** As `down`, whatever else is held: an emergency goes before it. */
  emergency(source: string, wish: Wish): void {
    if (this.press.peek().held) this.cut("emergency", true);
    this.down(source, wish);
  }

  up(source: string): void {
    this.run(this.core.up(source, now()));
  }

  private impossible(wish: Wish): string {
    if (wish.how === "emergency") return "";
    if (wish.how === "groups" && wish.groups.length === 0) return "no_group";
    if (this.shift.state.peek() === "off") return "no_shift";
    if (!this.link.ready) return "offline";
    return this.shift.microphone.track.peek() ? "" : "no_microphone";
  }

  private linkIs(ready: boolean, everReady: boolean): void {
    if (!ready) this.cut("offline", false);
    if (!everReady || ready !== this.lost) return;
    this.lost = !ready;
    this.shift.buses?.tones.sound(ready ? "back" : "lost");
  }

  private cut(cause: string, letGo: boolean): void {
    this.run(this.core.abandon(cause, letGo, now()));
  }

  private run(actions: PressAction[]): void {
    for (const action of actions) {
      switch (action.do) {
        case "microphone":
          this.keyOpen = action.open;
          this.path.setActive(action.open || this.calls.peek().open);
          break;
        case "request":
          void this.request(action.serial, action.wish);
          break;
        case "release":
          void this.link.command("floor.release", { groups: [] }, "now");
          break;
        case "alive":
          this.link.alive();
          break;
        case "tone":
          this.shift.buses?.tones.sound(action.tone);
          break;
      }
    }
    this.press.value = this.core.view;
    clearTimeout(this.timer);
    const { deadline } = this.core;
    if (deadline === null) return;
    this.timer = setTimeout(() => this.run(this.core.tick(now())), Math.max(0, (deadline - now()) * 1000));
  }

  private async request(serial: number, wish: Wish): Promise<void> {
    this.flushTuning();
    const outcome = await this.ask(wish);
    if (!outcome.ok) {
      this.run(this.core.failed(serial, outcome.problem.code, now()));
      return;
    }
    const answers = outcome.value.map((one) => ({ ...one, until: pageTime(one.until) }));
    this.run(this.core.answered(serial, answers, now()));
  }

  private async ask(wish: Wish) {
    if (wish.how === "emergency") {
      const fields = wish.emergency ?? { key: "" };
      // not re-sent by the link: whoever raises it does so again, with the same key and an open microphone
      const outcome = await this.link.command("emergency.start", fields, "now");
      wish.raised?.(outcome);
      return outcome.ok ? { ok: true as const, value: [outcome.value.answer] } : outcome;
    }
    const outcome =
      wish.how === "all_call"
        ? await this.link.command("call.all", {}, "now")
        : await this.link.command(
            "floor.request",
            { groups: [...wish.groups], bargeIn: wish.bargeIn ?? false, urgency: wish.urgency ?? "normal" },
            "now",
          );
    return outcome.ok ? { ok: true as const, value: outcome.value.answers } : outcome;
  }

  // ------------------------------------------------------------------ tuning and volume

  change(step: (tuning: tunings.Tuning) => tunings.Tuning): void {
    this.tuning.value = step(this.tuning.peek());
    save(this.key("tuning"), this.tuning.peek());
  }

  changeVolumes(step: (volumes: levels.Volumes) => levels.Volumes): void {
    const after = step(this.volumes.peek());
    if (after === this.volumes.peek()) return;
    this.volumes.value = after;
    save(this.key("volumes"), after);
  }

  /** A call was started or taken here. */
  own(call: string): void {
    if (!this.ownCalls.peek().has(call)) this.ownCalls.value = new Set([...this.ownCalls.peek(), call]);
  }

  /** Level of what is heard of a group, 0 to 1; of a patch the slot of any of its groups. */
  levelOf(group: string): number {
    const { floor } = this.options.world.peek();
    const id = floor.get(group)?.floor ?? group;
    const slot = this.path.slots.find(({ heard }) => {
      const heardGroup = heard.peek().group;
      return heard.peek().talker && (heardGroup === group || floor.get(heardGroup)?.floor === id);
    });
    return slot ? (this.levels.value.slots[slot.index] ?? 0) : 0;
  }

  private flushTuning(): void {
    const wanted = tunings.tune(this.tuning.value, this.options.world.value.group.values());
    const text = JSON.stringify(wanted);
    if (!this.link.ready || text === this.tuned || text === this.saying) return;
    if (this.options.world.peek().rev === 0) return; // the groups are not known yet
    this.saying = text;
    this.retuneAt = now() + RETUNE_S;
    void this.link.command("group.tune", wanted, "now").then((outcome) => {
      if (this.saying !== text) return;
      this.saying = "";
      if (outcome.ok) this.tuned = text;
    });
  }

  private route(): void {
    const volumes = this.volumes.value;
    const { group: groups } = this.options.world.value;
    const selected = this.tuning.value.selected;
    const on = this.shift.state.value !== "off";
    const slots = this.path.slots.map(({ index, track, heard }) => ({
      index,
      track: on ? track.value : null,
      ...heard.value,
    }));
    const { buses } = this.shift;
    if (!buses) return;
    buses.setVolume("selected", volumes.selected);
    buses.setVolume("unselected", volumes.unselected);
    for (const { index, track, group, call } of slots) {
      buses.wire(index, track);
      const always = call !== "" || ["all_call", "private"].includes(groups.get(group)?.kind ?? "");
      const { bus, gain } = levels.route(volumes, group, always || selected.includes(group), serverTime());
      buses.route(index, bus, gain);
    }
  }

  private measure(): void {
    const { buses } = this.shift;
    if (!buses || document.hidden || this.shift.state.peek() !== "on") {
      if (this.levels.peek() !== SILENT) this.levels.value = SILENT;
      return;
    }
    this.levels.value = {
      selected: buses.level("selected"),
      unselected: buses.level("unselected"),
      slots: this.path.slots.map(({ index, heard }) => (heard.peek().talker ? buses.level(index) : 0)),
    };
  }

  // ------------------------------------------------------------------ what is told by tones

  private announce(): void {
    const world = this.options.world.value;
    const incoming = this.calls.value.incoming !== null;
    const on = this.shift.state.value === "on";
    const tones = this.shift.buses?.tones;
    const { once, alarm } = announce(this.before, world, this.tuning.peek().selected);
    this.before = world;
    if (!tones) return;
    const { officer } = this.options;
    for (const tone of once) if (on && (officer || tone !== "callback")) tones.sound(tone);
    tones.keep("alarm", on && alarm && officer);
    tones.keep("ring", on && incoming);
  }

  /** An ended call stays in sight for a moment, with its cause. */
  private forgetEndedCalls(): void {
    const { call: calls } = this.options.world.value;
    const own = this.ownCalls.value;
    const over = [...own].filter((id) => calls.get(id)?.state === "ended");
    if (over.length === 0) return;
    setTimeout(() => {
      this.ownCalls.value = new Set([...this.ownCalls.peek()].filter((id) => !over.includes(id)));
    }, ENDED_SHOWN_MS);
  }

  private beat(at: number): void {
    this.changeVolumes((volumes) => levels.withoutOver(volumes, serverTime()));
    if (at >= this.retuneAt) {
      this.retuneAt = at + RETUNE_S;
      this.flushTuning();
    }
  }

  private key(name: string): string {
    return `${name}.${this.options.owner}`;
  }
}

function isEmergency(wish: Wish | null): boolean {
  return wish?.how === "emergency" || wish?.urgency === "emergency";
}

/** A time of the server's clock in the page's. */
function pageTime(time: number | null): number | null {
  return time === null ? null : now() + (time - serverTime());
}
