/** Talking and listening by phone: the shared voice core with one group to talk in, and the phone's own ways to say it. */
import { computed, effect, type ReadonlySignal, untracked } from "@preact/signals";
import { now, serverTime } from "../clock.ts";
import type { Link } from "../link.ts";
import type { Group } from "../messages.ts";
import type { World } from "../store.ts";
import type { Self } from "../voice/calls.ts";
import { type Card, cardOf, openAlarms } from "../voice/groups.ts";
import type { PressPhase } from "../voice/press.ts";
import { Talk } from "../voice/talk.ts";
import { choosable, listen, tune } from "../voice/tuning.ts";
import type { Awake } from "./awake.ts";
import { Headset } from "./headset.ts";

/** What gloves feel, ms. */
const BUZZ: Partial<Record<PressPhase, number[]>> = {
  talking: [60],
  queued: [30, 60, 30],
  refused: [250],
};
const RINGING = [400, 200, 400, 200, 400];

export class Radio {
  readonly talk: Talk;
  readonly headset: Headset;
  readonly groups = computed(() => choosable(this.world.value.group.values()));
  /** Where the key talks, null = nowhere. */
  readonly selected = computed<Group | null>(() => {
    const [id] = tune(this.talk.tuning.value, this.world.value.group.values()).selected;
    return (id && this.world.value.group.get(id)) || null;
  });
  /** What this phone asked for and nobody has dealt with yet. */
  readonly callback = computed(
    () =>
      [...this.world.value.callback.values()]
        .filter((one) => one.done === null && one.unit === this.self.value.unit)
        .sort((a, b) => b.at - a.at)[0] ?? null,
  );

  constructor(
    private readonly link: Link,
    private readonly world: ReadonlySignal<World>,
    private readonly self: ReadonlySignal<Self>,
    private readonly leg: ReadonlySignal<string>,
    private readonly awake: Awake,
  ) {
    this.talk = new Talk({ link, world, self, owner: "phone", officer: false });
    this.headset = new Headset(this.talk, () => this.selected.peek()?.name ?? "");
  }

  start(): void {
    this.talk.start();
    this.headset.start();
    effect(() => this.chooseFirst());
    effect(() => {
      const pattern = BUZZ[this.talk.press.value.phase];
      if (pattern) buzz(pattern);
    });
    effect(() => {
      if (this.talk.calls.value.incoming) buzz(RINGING);
    });
    effect(() => {
      const open = this.talk.press.value.microphone || this.talk.calls.value.open;
      untracked(() => this.awake.want("talk", open));
    });
    effect(() => {
      const { selected } = this;
      const talker = this.heardName();
      this.headset.tell(selected.value?.name ?? "", talker);
    });
    // once the microphone is allowed, any touch opens the sound path; before that a touch must ask for it on purpose
    void microphoneAllowed().then((allowed) => {
      if (!allowed) return;
      const touched = (): void => {
        removeEventListener("pointerup", touched);
        void this.begin();
      };
      addEventListener("pointerup", touched);
    });
  }

  /** In a touch: open sound, microphone and sound path. */
  async begin(): Promise<void> {
    if (this.talk.shift.state.peek() === "on") return;
    await this.talk.shift.start(false);
  }

  end(): void {
    this.talk.shift.end();
  }

  // ------------------------------------------------------------------ the key

  down(source: string): void {
    if (this.talk.calls.peek().open) return; // both hear each other already
    this.talk.down(source);
  }

  up(source: string): void {
    this.talk.up(source);
  }

  // ------------------------------------------------------------------ groups

  /** Talk in this group, and nowhere else. */
  choose(group: string): void {
    this.talk.change((tuning) => ({ ...listen(tuning, group, true), selected: [group] }));
  }

  listen(group: string, on: boolean): void {
    this.talk.change((tuning) => listen(tuning, group, on));
  }

  private isListening(group: string): boolean {
    return !this.talk.tuning.value.left.includes(group);
  }

  /** Who hears what is said there, without this phone: another one with the same link hears it, too. */
  hearers(group: Group): number {
    return group.listeners.filter((one) => one.voice && one.leg !== this.leg.value).length;
  }

  /** What there is to say about a group at this moment. */
  card(group: Group): Card {
    const { floor: floors, alarm: alarms } = this.world.value;
    const { groups: pressed } = this.talk.press.value;
    const floor = floors.get(group.id);
    const status = this.link.status.value;
    const time = serverTime();
    const mine = [...pressed].some(
      ([id, own]) => own.state === "granted" && id !== group.id && floors.get(id)?.floor === floor?.floor,
    );
    return cardOf(
      {
        group,
        floor,
        own: pressed.get(group.id),
        mine,
        selected: this.selected.value?.id === group.id,
        selectedCount: 1,
        listening: this.isListening(group.id),
        muted: undefined,
        alarms: openAlarms(alarms.values()).filter((alarm) => alarm.group === group.id),
        lostSince: status.everReady && status.phase !== "ready" ? time - (now() - status.heard) : null,
      },
      time,
      now(),
    );
  }

  nameOf(group: string): string {
    return this.world.value.group.get(group)?.name ?? "";
  }

  /** The first group, when none was ever chosen. One that is gone is not replaced: a person must know where they talk. */
  private chooseFirst(): void {
    const [first] = this.groups.value;
    if (first && this.talk.tuning.value.selected.length === 0) untracked(() => this.choose(first.id));
  }

  private heardName(): string {
    const heard = this.talk.path.slots.map((slot) => slot.heard.value).find((one) => one.talker);
    return heard?.talker?.name ?? "";
  }

  // ------------------------------------------------------------------ calls

  async answer(call: string, accept: boolean): Promise<string> {
    const outcome = await this.link.command("call.answer", { call, accept }, "now");
    if (outcome.ok && accept) this.talk.own(call);
    return outcome.ok ? "" : outcome.problem.code;
  }

  hangUp(call: string): void {
    void this.link.command("call.end", { call }, "resend");
  }

  /** The error's code, "" = done. It waits for the connection when there is none. */
  async askBack(text: string): Promise<string> {
    const group = this.selected.peek()?.id ?? "";
    const outcome = await this.link.command("callback.request", { group, text }, "resend");
    return outcome.ok ? "" : outcome.problem.code;
  }
}

function buzz(pattern: number[]): void {
  if ("vibrate" in navigator && navigator.userActivation?.hasBeenActive) navigator.vibrate(pattern);
}

async function microphoneAllowed(): Promise<boolean> {
  try {
    const status = await navigator.permissions.query({ name: "microphone" as PermissionName });
    return status.state === "granted";
  } catch {
    return false; // a browser that does not tell
  }
}
