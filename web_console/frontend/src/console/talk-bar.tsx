/** The bar at the bottom of every page: where the key talks, TALK, what becomes of it, meters, recall, call-backs. */
import { beat, now } from "../clock.ts";
import { Icon } from "../icon.tsx";
import { radio } from "../strings/radio.ts";
import { talk, talkCause } from "../strings/talk.ts";
import type { BusName } from "../voice/levels.ts";
import type { PressView } from "../voice/press.ts";
import { useModel } from "./context.ts";

export function TalkBar() {
  const model = useModel();
  const { desk } = model;
  const off = desk.talk.shift.state.value === "off";
  return (
    <section class="talk-bar" aria-label={radio("talk_bar")}>
      <Target />
      {off ? <StartShift /> : <TalkButton />}
      <PressState />
      <div class="buses">
        <Bus name="selected" />
        <Bus name="unselected" />
      </div>
      <Recall />
      <div class="talk-side">
        <button
          type="button"
          class="quiet"
          data-callbacks={desk.callbacks.value.length}
          title={radio("callbacks")}
          onClick={() => model.openSide()}
        >
          <Icon name="phone-incoming" />
          {radio("callbacks_n", { n: desk.callbacks.value.length })}
        </button>
        <button
          type="button"
          class="quiet"
          onClick={() => {
            desk.box.value = { kind: "devices" };
          }}
        >
          <Icon name="headphones" /> {radio("devices")}
        </button>
      </div>
    </section>
  );
}

function Target() {
  const { desk } = useModel();
  const { current } = desk.talk.calls.value;
  const inCall = current?.state === "active" && current.group !== "";
  const groups = desk.selected.value;
  const armed = desk.armed.value;
  return (
    <div class="target">
      <span class="target-head">
        {inCall
          ? radio("target_call")
          : groups.length > 1
            ? radio("target_multi", { n: groups.length })
            : radio("target")}
      </span>
      <span class="target-groups">
        {inCall ? (
          <strong>{current.group ? desk.nameOf(current.group) : ""}</strong>
        ) : groups.length === 0 ? (
          <span class="dim">{radio("target_none")}</span>
        ) : (
          groups.map((id) => (
            <span key={id} class={`target-group ${groups.length > 1 ? "target-multi" : ""}`}>
              {desk.nameOf(id)}
            </span>
          ))
        )}
      </span>
      <button
        type="button"
        class={`all-call ${armed ? "armed" : ""}`}
        title={radio("all_call_hint")}
        onPointerDown={(event) => {
          if (event.button !== 0) return;
          event.currentTarget.setPointerCapture(event.pointerId);
          desk.allCallDown("all-call");
        }}
        onLostPointerCapture={() => desk.talk.up("all-call")}
        onKeyDown={(event) => {
          if (event.code !== "Space" && event.code !== "Enter") return;
          event.preventDefault();
          if (!event.repeat) desk.allCallDown("all-call");
        }}
        onKeyUp={() => desk.talk.up("all-call")}
        onBlur={() => desk.talk.up("all-call")}
      >
        <Icon name="megaphone" />
        {armed ? radio("all_call_armed", { n: armed }) : radio("all_call")}
        <kbd>F9</kbd>
      </button>
    </div>
  );
}

function StartShift() {
  const { desk } = useModel();
  const { shift } = desk.talk;
  return (
    <button
      type="button"
      class="talk-button start"
      disabled={shift.starting.value}
      onClick={() => void shift.start(true)}
    >
      <Icon name="power" size={22} />
      <span>{shift.starting.value ? radio("shift_starting") : radio("shift_start")}</span>
    </button>
  );
}

const LOOK: Record<PressView["phase"], string> = {
  idle: "",
  requesting: "wait",
  queued: "wait",
  talking: "tx",
  refused: "refused",
  closing: "tx",
};

/** Held with the pointer, or with space while it has the focus; never a latch. */
function TalkButton() {
  const { desk } = useModel();
  const { talk: voice } = desk;
  const view = voice.press.value;
  return (
    <button
      type="button"
      class={`talk-button look-${LOOK[view.phase]}`}
      data-phase={view.phase}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        desk.talkDown("pointer", event.shiftKey);
      }}
      onLostPointerCapture={() => voice.up("pointer")}
      onContextMenu={(event) => event.preventDefault()}
      onKeyDown={(event) => {
        if (event.code !== "Space") return;
        event.preventDefault();
        if (!event.repeat) desk.talkDown("space", event.shiftKey);
      }}
      onKeyUp={(event) => {
        if (event.code === "Space") voice.up("space");
      }}
      onBlur={() => voice.up("space")}
    >
      <Icon name={view.microphone ? "mic" : "mic-off"} size={22} />
      <span>{radio("talk_button")}</span>
      <kbd>F8</kbd>
    </button>
  );
}

/** What became of the key, in words; read out. */
function PressState() {
  const model = useModel();
  const { desk } = model;
  beat.value; // seconds are counted
  const view = desk.talk.press.value;
  const idle: keyof typeof IDLE =
    desk.talk.shift.state.value === "off"
      ? "off"
      : model.link.status.value.phase !== "ready"
        ? "lost"
        : desk.talk.path.peer.phase.value === "up"
          ? "ready"
          : "path";
  const { main, more, look } = pressWords(view, IDLE[idle], {
    name: (group) => desk.nameOf(group),
    talker: (group) => model.world.value.floor.get(group)?.talker?.name ?? "",
  });
  return (
    <div class={`press-state look-${look}`} data-phase={view.phase} role="status" aria-live="polite">
      <strong>{main}</strong>
      {more && <span>{more}</span>}
    </div>
  );
}

/** What there is to say while no key is down. */
const IDLE = {
  off: { main: "off_duty", more: "off_duty_hint", look: "" },
  lost: { main: "talk_server_lost", more: "talk_wait", look: "refused" },
  path: { main: "path_down", more: "talk_wait", look: "wait" },
  ready: { main: "ready", more: "ready_hint", look: "" },
} as const;

function pressWords(
  view: PressView,
  idle: (typeof IDLE)[keyof typeof IDLE],
  of: { name: (group: string) => string; talker: (group: string) => string },
): { main: string; more: string; look: string } {
  const groups = [...view.groups];
  const refused = groups.filter(([, one]) => one.state === "denied" || one.state === "revoked");
  switch (view.phase) {
    case "requesting":
      return { main: talk("talk_requesting"), more: "", look: "wait" };
    case "queued": {
      const [group = "", queued] = groups.find(([, one]) => one.state === "queued") ?? [];
      const n = queued?.position ?? 0;
      const talker = queued?.talker?.name || of.talker(group);
      return {
        main: talk("talk_queued", { n, size: Math.max(queued?.size ?? 0, n) }),
        more: talker ? radio("waits_for", { name: talker }) : radio("keep_holding"),
        look: "wait",
      };
    }
    case "closing":
      return { main: `▲ ${talk("talk_transmitting")}`, more: "", look: "tx" };
    case "talking": {
      const granted = groups.filter(([, one]) => one.state === "granted");
      const ends = granted.flatMap(([, one]) => (one.until === null ? [] : [one.until]));
      const left = ends.length ? Math.max(0, Math.ceil(Math.min(...ends) - now())) : null;
      const warned = granted.some(([, one]) => one.warned);
      return {
        main: `▲ ${talk("talk_transmitting")}${left === null ? "" : ` · ${talk("talk_left", { n: left })}`}`,
        more: warned
          ? radio("limit_near")
          : refused.map(([group, one]) => `${of.name(group)}：${talkCause(one.cause).brief}`).join(" "),
        look: warned ? "warned" : "tx",
      };
    }
    default: {
      const [first] = refused;
      if (!first) return { main: radio(idle.main), more: radio(idle.more), look: idle.look };
      const { brief, sentence, next } = talkCause(first[1].cause);
      const talker = first[1].talker?.name || of.talker(first[0]);
      return { main: talker ? `${brief} · ${talker}` : brief, more: `${sentence} ${next}`, look: "refused" };
    }
  }
}

function Bus({ name }: { name: BusName }) {
  const { desk } = useModel();
  const volume = desk.talk.volumes.value[name];
  const label = name === "selected" ? radio("bus_selected") : radio("bus_unselected");
  return (
    <label class="bus">
      <span class="bus-name">{name === "selected" ? "SEL" : "UNSEL"}</span>
      <Meter name={name} />
      <input
        type="range"
        min="0"
        max="100"
        step="5"
        value={Math.round(volume * 100)}
        aria-label={label}
        title={label}
        onInput={(event) => {
          const value = Number(event.currentTarget.value) / 100;
          desk.talk.changeVolumes((volumes) => ({ ...volumes, [name]: value }));
        }}
      />
    </label>
  );
}

function Meter({ name }: { name: BusName }) {
  const { desk } = useModel();
  const level = desk.talk.levels.value[name];
  return (
    <span class="meter" data-meter={name} data-level={level.toFixed(2)}>
      <span class="meter-fill" style={{ transform: `scaleX(${level.toFixed(2)})` }} />
    </span>
  );
}

function Recall() {
  const { desk } = useModel();
  const playing = desk.player.playing.value;
  return (
    <div class="recall">
      <button type="button" onClick={() => void desk.recall()} title={`${radio("recall_hint")} (F2)`}>
        <Icon name="history" /> {radio("recall")} <kbd>F2</kbd>
      </button>
      {playing && (
        <button type="button" class="playing" title={radio("recall_stop")} onClick={() => desk.player.stop()}>
          <Icon name={playing.failed ? "circle-alert" : "circle-stop"} />
          <span>
            {playing.failed
              ? radio("play_failed")
              : `${playing.spurt.talker.name} ${Math.floor(playing.position)}/${Math.ceil(playing.duration)} s`}
          </span>
        </button>
      )}
    </div>
  );
}
