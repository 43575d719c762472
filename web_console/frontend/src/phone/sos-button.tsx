/** SOS: held until the ring is full, then 5 s in which a large button takes it back. */
import { useEffect, useRef } from "preact/hooks";
import { Icon } from "../icon.tsx";
import { say } from "../strings/phone-talk.ts";
import type { PhoneModel } from "./model.ts";
import { HOLD } from "./sos-core.ts";

const ROUND = 2 * Math.PI * 20; // length of the ring

export function SosButton({ model }: { model: PhoneModel }) {
  const { sos } = model;
  const element = useRef<HTMLButtonElement>(null);
  const state = sos.state.value;
  const held = state.phase === "holding" ? sos.at.value - state.since : 0;
  const share = Math.min(1, held / HOLD);

  useEffect(() => {
    const button = element.current;
    if (!button) return;
    const prevent = (event: Event): void => event.preventDefault();
    button.addEventListener("touchstart", prevent, { passive: false });
    button.addEventListener("contextmenu", prevent);
    return () => {
      button.removeEventListener("touchstart", prevent);
      button.removeEventListener("contextmenu", prevent);
      sos.up();
    };
  }, [sos]);

  return (
    <button
      ref={element}
      type="button"
      class={`sos ${state.phase === "holding" ? "held" : ""}`}
      data-control="sos"
      data-sos={state.phase}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        sos.down();
      }}
      onPointerUp={() => sos.up()}
      onPointerCancel={() => sos.up()}
      onLostPointerCapture={() => sos.up()}
      onKeyDown={(event) => {
        if (event.code !== "Space" && event.code !== "Enter") return;
        event.preventDefault();
        if (!event.repeat) sos.down();
      }}
      onKeyUp={() => sos.up()}
      onBlur={() => sos.up()}
    >
      <svg class="ring" viewBox="0 0 44 44" aria-hidden="true">
        <circle cx="22" cy="22" r="20" />
        <circle
          class="ring-full"
          cx="22"
          cy="22"
          r="20"
          style={{ strokeDasharray: String(ROUND), strokeDashoffset: String(ROUND * (1 - share)) }}
        />
        <text x="22" y="27" text-anchor="middle">
          {say("sos")}
        </text>
      </svg>
      <span>
        <span class="only-read">{say("sos")} </span>
        {state.phase === "holding"
          ? say("sos_holding", { n: Math.max(1, Math.ceil(HOLD - held)) })
          : say("sos_hold")}
      </span>
    </button>
  );
}

export function SosCountdown({ model }: { model: PhoneModel }) {
  const { sos } = model;
  const cancel = useRef<HTMLButtonElement>(null);
  const state = sos.state.value;
  const counting = state.phase === "countdown";
  useEffect(() => {
    if (counting) cancel.current?.focus();
  }, [counting]);
  if (!counting) return null;
  const left = Math.max(1, Math.ceil(state.until - sos.at.value));
  return (
    <div
      class="sos-countdown"
      role="alertdialog"
      aria-modal="true"
      aria-labelledby="sos-asks"
      onKeyDown={(event) => {
        if (event.code === "Escape") sos.cancel();
      }}
    >
      <Icon name="siren" size={64} />
      <strong class="sos-left num" aria-hidden="true">
        {left}
      </strong>
      <p id="sos-asks">{say("sos_asks", { n: left })}</p>
      <p>{say("sos_asks_more")}</p>
      <button ref={cancel} type="button" data-control="sos-cancel" onClick={() => sos.cancel()}>
        <Icon name="x" size={36} /> {say("sos_cancel")}
      </button>
    </div>
  );
}
