/** The large key: held to talk. It says in words and symbols what becomes of that. */
import { useEffect, useRef } from "preact/hooks";
import { beat, now } from "../clock.ts";
import { Icon } from "../icon.tsx";
import { say } from "../strings/phone-talk.ts";
import type { Card } from "../voice/groups.ts";
import { type Face, faceOf } from "./face.ts";
import type { PhoneModel } from "./model.ts";

const KEY = "pointer"; // of the talk core

export function TalkButton({ model }: { model: PhoneModel }) {
  const { radio } = model;
  const element = useRef<HTMLButtonElement>(null);
  const pointer = useRef<number | null>(null);
  beat.value; // seconds are counted
  const group = radio.selected.value;
  const card = group && radio.card(group);
  const face = faceFor(model, card);

  useEffect(() => {
    const button = element.current;
    if (!button) return;
    // on a phone a long touch means a menu, a magnifier or a selection: none of them may end the hold
    const prevent = (event: Event): void => event.preventDefault();
    button.addEventListener("touchstart", prevent, { passive: false });
    button.addEventListener("contextmenu", prevent);
    return () => {
      button.removeEventListener("touchstart", prevent);
      button.removeEventListener("contextmenu", prevent);
      radio.up(KEY);
    };
  }, [radio]);

  const isOff = (): boolean => radio.talk.shift.state.peek() === "off";
  const down = (): void => {
    if (!isOff()) radio.down(KEY);
  };
  const up = (): void => radio.up(KEY);
  const end = (event: PointerEvent): void => {
    if (event.pointerId !== pointer.current) return;
    pointer.current = null;
    up();
    // opening needs a touch that is over: only that counts for the browser as the person's wish
    if (event.type === "pointerup" && isOff()) void radio.begin();
  };
  return (
    <>
      <button
        ref={element}
        type="button"
        class={`talk look-${face.look} ${face.urgent ? "urgent" : ""}`}
        data-control="talk"
        data-look={face.look}
        data-activity={card?.activity.kind ?? ""}
        data-phase={radio.talk.press.value.phase}
        aria-label={`${say("key")}: ${face.main}`}
        onPointerDown={(event) => {
          // a finger whose end was never told must not leave the key dead
          if (event.button !== 0 || (pointer.current !== null && radio.talk.press.peek().held)) return;
          pointer.current = event.pointerId;
          event.currentTarget.setPointerCapture(event.pointerId);
          down();
        }}
        onPointerUp={end}
        onPointerCancel={end}
        onLostPointerCapture={end}
        onKeyDown={(event) => {
          if (event.code !== "Space" && event.code !== "Enter") return;
          event.preventDefault();
          if (event.repeat) return;
          if (isOff()) void radio.begin();
          else down();
        }}
        onKeyUp={(event) => {
          if (event.code === "Space" || event.code === "Enter") up();
        }}
        onBlur={up}
        // a screen reader's double tap: it can begin, but not hold
        onClick={(event) => {
          if (event.detail === 0 && isOff()) void radio.begin();
        }}
      >
        {card?.activity.kind === "hang" && face.look === "hang" && (
          <span class="hang-bar" style={{ transform: `scaleX(${card.activity.share.toFixed(2)})` }} />
        )}
        <Icon name={face.icon} size={40} />
        <span class="talk-words">
          <strong class="num">{face.main}</strong>
          <span>{face.more}</span>
        </span>
        {face.urgent && <Icon name="siren" size={30} />}
      </button>
      <p class="only-read" role="status">
        {face.look === "lost" ? say("key_lost_more") : face.main.replace(/\d+/g, "")}
      </p>
    </>
  );
}

function faceFor(model: PhoneModel, card: Card | null): Face {
  const { talk } = model.radio;
  const status = model.link.status.value;
  const { current } = talk.calls.value;
  const group = model.radio.selected.value?.id;
  return faceOf({
    shift: talk.shift.state.value,
    starting: talk.shift.starting.value,
    linkReady: status.phase === "ready",
    lostFor: status.everReady ? now() - status.heard : null,
    pathUp: talk.path.peer.phase.value === "up" && talk.path.sure.value,
    microphone: talk.shift.microphone.track.value !== null,
    press: talk.press.value,
    card,
    talker: (group && model.world.value.floor.get(group)?.talker?.name) || "",
    groupGone: talk.tuning.value.selected.length > 0 && model.radio.groups.value.length > 0,
    call: current?.state === "active" ? current.duplex : "",
    now: now(),
  });
}
