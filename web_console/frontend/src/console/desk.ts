/** What an officer does with groups, alarms, calls and recordings; each act that fails says why. */
import { computed, effect, type ReadonlySignal, signal } from "@preact/signals";
import type { Outcome } from "../api.ts";
import { now, onBeat, serverTime } from "../clock.ts";
import type { Link } from "../link.ts";
import type { Group, Patch, Spurt } from "../messages.ts";
import type { World } from "../store.ts";
import { errorWords } from "../strings/common.ts";
import { type RadioKey, radio } from "../strings/radio.ts";
import { type AlarmPicture, alarmPictures } from "../video/alarm-pictures.ts";
import { Arming } from "../voice/arming.ts";
import { type Card, cardOf, openAlarms } from "../voice/groups.ts";
import { isMuted, mute } from "../voice/levels.ts";
import { Talk } from "../voice/talk.ts";
import { choosable, select, toggle, tune } from "../voice/tuning.ts";
import { Player } from "./player.ts";
import { recall } from "./recall.ts";
import { RecentSpurts } from "./spurts.ts";

const UNDO_FOR = 10; // s

/** What is open over the page. */
type Box =
  | { kind: "group"; group: string }
  | { kind: "new" }
  | { kind: "devices" }
  | { kind: "alarm"; alarm: string; act: "park" | "close" }
  | { kind: "hold"; spurt: Spurt }
  | null;

interface Undo {
  text: string;
  until: number;
  act: () => void;
}

interface DeskOptions {
  link: Link;
  world: ReadonlySignal<World>;
  /** Id of the officer. */
  user: string;
  /** Tell the officer in words. */
  say: (text: string) => void;
  /** Open the panel in which the alarms are. */
  openSide: () => void;
}

export class Desk {
  readonly talk: Talk;
  readonly player: Player;
  readonly recent: RecentSpurts;
  readonly box = signal<Box>(null);
  /** Groups chosen for a patch; null = patch mode is off. */
  readonly patching = signal<readonly string[] | null>(null);
  readonly undo = signal<Undo | null>(null);
  /** s left in which a second press makes the all-call. */
  readonly armed = signal(0);

  readonly groups = computed(() => choosable(this.options.world.value.group.values()));
  readonly alarms = computed(() => openAlarms(this.options.world.value.alarm.values()));
  /** Cameras of alarms that are shown on their cards. */
  readonly pictures = computed<readonly AlarmPicture[]>(() => {
    this.shownPictures = alarmPictures(
      this.alarms.value,
      this.options.world.value.stream,
      this.shownPictures,
    );
    return this.shownPictures;
  });
  /** Selected groups that exist, in the order in which they were chosen. */
  readonly selected = computed(
    () => tune(this.talk.tuning.value, this.options.world.value.group.values()).selected,
  );
  readonly callbacks = computed(() =>
    [...this.options.world.value.callback.values()]
      .filter((one) => one.done === null)
      .sort((a, b) => Number(a.takenBy !== "") - Number(b.takenBy !== "") || a.at - b.at),
  );

  private readonly link: Link;
  private readonly arming = new Arming();
  private shownPictures: readonly AlarmPicture[] = [];

  constructor(private readonly options: DeskOptions) {
    const { link, world, user } = options;
    this.link = link;
    this.talk = new Talk({
      link,
      world,
      self: signal({ user, unit: "" }),
      owner: user,
      officer: true,
    });
    this.player = new Player(this.talk.shift);
    this.recent = new RecentSpurts(link, {
      world,
      groups: () => tune(this.talk.tuning.value, world.value.group.values()).listening,
    });
  }

  start(): void {
    this.talk.start();
    this.recent.start();
    onBeat((at) => {
      this.armed.value = Math.ceil(this.arming.left(at));
      const undo = this.undo.peek();
      if (undo && at >= undo.until) this.undo.value = null;
    });
    effect(() => {
      if (this.link.status.value.phase !== "ready") this.arming.disarm();
    });
  }

  nameOf(group: string): string {
    return this.options.world.value.group.get(group)?.name ?? group;
  }

  /** What the card of a group says at this moment. */
  card(group: Group): Card {
    const { floor: floors, alarm: alarms } = this.options.world.value;
    const { groups: pressed } = this.talk.press.value;
    const floor = floors.get(group.id);
    const status = this.link.status.value;
    const mine = [...pressed].some(
      ([id, own]) => own.state === "granted" && id !== group.id && floors.get(id)?.floor === floor?.floor,
    );
    const selected = this.selected.value;
    const time = serverTime();
    return cardOf(
      {
        group,
        floor,
        own: pressed.get(group.id),
        mine,
        selected: selected.includes(group.id),
        selectedCount: selected.length,
        listening: !this.talk.tuning.value.left.includes(group.id),
        muted: this.talk.volumes.value.muted[group.id],
        alarms: openAlarms(alarms.values()).filter((alarm) => alarm.group === group.id),
        lostSince: status.everReady && status.phase !== "ready" ? time - (now() - status.heard) : null,
      },
      time,
      now(),
    );
  }

  // ------------------------------------------------------------------ choosing

  choose(group: string, add: boolean): void {
    const patching = this.patching.peek();
    if (patching) {
      this.patching.value = patching.includes(group)
        ? patching.filter((one) => one !== group)
        : [...patching, group];
      return;
    }
    this.talk.change((tuning) => (add ? toggle(tuning, group) : select(tuning, group)));
  }

  chooseSlot(number: number, add: boolean): void {
    const group = this.groups.peek().find((one) => one.number === number) ?? this.groups.peek()[number - 1];
    if (group) this.choose(group.id, add);
  }

  /** Silence a group that is not selected, or let it be heard again; `minutes` null = until somebody ends it. */
  mute(group: string, minutes: number | null): void {
    if (this.selected.peek().includes(group)) {
      this.say("mute_selected");
      return;
    }
    const over = isMuted(this.talk.volumes.peek(), group, serverTime());
    const until = minutes === null ? null : serverTime() + minutes * 60;
    this.talk.changeVolumes((volumes) => mute(volumes, group, over ? undefined : until));
    this.say(over ? "unmuted" : "muted", { name: this.nameOf(group) });
  }

  // ------------------------------------------------------------------ keys, all-call and alarms

  /** `bargeIn` (强插): also from a talker of the own rank. */
  talkDown(source: string, bargeIn: boolean): void {
    this.talk.down(source, { how: "groups", groups: this.talk.target, bargeIn });
  }

  /** F9 or its button: the first press arms, the second one talks. */
  allCallDown(source: string): void {
    if (!this.arming.press(now())) {
      this.armed.value = Math.ceil(this.arming.left(now()));
      return;
    }
    this.armed.value = 0;
    const group = [...this.options.world.peek().group.values()].find((one) => one.kind === "all_call");
    this.talk.down(source, { how: "all_call", groups: group ? [group.id] : [] });
  }

  /** F4: the oldest alarm that nobody has acknowledged, else the first. Its button is focused; Enter presses it. */
  openAlarm(): void {
    const alarm = this.alarms.peek()[0];
    if (!alarm) {
      this.say("alarms_none");
      return;
    }
    this.box.value = null;
    this.options.openSide();
    requestAnimationFrame(() => {
      document
        .querySelector<HTMLElement>(`[data-alarm="${CSS.escape(alarm.id)}"] .buttons button:enabled`)
        ?.focus();
    });
  }

  moveAlarm(alarm: string, act: "acknowledge" | "resume"): void {
    void this.do("act_alarm", this.link.command("alarm.move", { alarm, act }, "resend"));
  }

  takeCallBack(callback: string, done: boolean): void {
    void this.do("act_callback", this.link.command("callback.take", { callback, done }, "resend"));
  }

  // ------------------------------------------------------------------ patches

  togglePatching(): void {
    this.patching.value = this.patching.peek() ? null : [];
  }

  async makePatch(groups: readonly string[]): Promise<void> {
    this.patching.value = null;
    const outcome = await this.do(
      "act_patch",
      this.link.command("patch.create", { groups: [...groups] }, "once"),
    );
    if (outcome.ok) {
      const names = groups.map((id) => this.nameOf(id)).join(" · ");
      this.say("patched", { name: outcome.value.name, groups: names });
    }
  }

  async endPatch(patch: Patch): Promise<void> {
    const outcome = await this.do(
      "act_patch_end",
      this.link.command("patch.change", { patch: patch.id, groups: [] }, "resend"),
    );
    if (!outcome.ok) return;
    this.undo.value = {
      text: radio("patch_ended", { name: patch.name }),
      until: now() + UNDO_FOR,
      act: () => void this.makePatch(patch.groups),
    };
  }

  mutePatched(group: string, seconds: number): void {
    void this.do("act_patch_mute", this.link.command("patch.mute", { group, seconds }, "resend"));
  }

  // ------------------------------------------------------------------ calls

  async call(to: { unit?: string; user?: string }, duplex: "full" | "half"): Promise<void> {
    if (this.talk.shift.state.peek() === "off") {
      this.say("shift_first");
      return;
    }
    const outcome = await this.do(
      "act_call",
      this.link.command("call.start", { unit: to.unit ?? "", user: to.user ?? "", duplex }, "now"),
    );
    if (outcome.ok) this.talk.own(outcome.value.call);
  }

  async answer(call: string, accept: boolean): Promise<void> {
    const outcome = await this.do("act_answer", this.link.command("call.answer", { call, accept }, "now"));
    if (outcome.ok && accept) this.talk.own(call);
  }

  hangUp(call: string): void {
    void this.do("act_hang_up", this.link.command("call.end", { call }, "resend"));
  }

  // ------------------------------------------------------------------ recordings

  /** F2: what was said last in the selected groups, else anywhere; again: one further back. */
  async recall(): Promise<void> {
    const { player, recent } = this;
    await recent.fresh();
    const groups = this.selected.peek();
    const own = recent.spurts.peek().some((one) => one.groups.some((group) => groups.includes(group)));
    const found = recall(recent.spurts.peek(), own ? groups : [], player.last, now());
    if (found) player.play(found);
    else this.say(recent.spurts.peek().length ? "recall_no_older" : "recall_none");
  }

  // ------------------------------------------------------------------ words

  say(key: RadioKey, values: Record<string, string | number> = {}): void {
    this.options.say(radio(key, values));
  }

  /** Wait for a command; when it fails, say what, why and what to do. */
  private async do<T>(what: RadioKey, outcome: Promise<Outcome<T>>): Promise<Outcome<T>> {
    const result = await outcome;
    if (!result.ok) {
      const { reason, next } = errorWords(result.problem.code);
      this.say("act_failed", { what: radio(what), reason, next });
    }
    return result;
  }
}
