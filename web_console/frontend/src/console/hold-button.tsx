/** A dangerous act: it happens only when the button has been held for a while, with pointer or keyboard. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { cardWord } from "../strings/cards.ts";

const HOLD_MS = 1200;

export function HoldButton({
  children,
  act,
  disabled = false,
}: {
  children: ComponentChildren;
  act: () => void;
  disabled?: boolean;
}) {
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const [held, setHeld] = useState(false);
  const stop = (): void => {
    clearTimeout(timer.current);
    setHeld(false);
  };
  const begin = (): void => {
    if (disabled || held) return;
    setHeld(true);
    timer.current = setTimeout(() => {
      setHeld(false);
      act();
    }, HOLD_MS);
  };
  useEffect(() => stop, []);
  return (
    <button
      type="button"
      class={`danger hold ${held ? "held" : ""}`}
      disabled={disabled}
      title={cardWord("hold_hint")}
      onPointerDown={begin}
      onPointerUp={stop}
      onPointerLeave={stop}
      onBlur={stop}
      onKeyDown={(event) => {
        if (event.code !== "Space" && event.code !== "Enter") return;
        event.preventDefault();
        if (!event.repeat) begin();
      }}
      onKeyUp={stop}
    >
      {children} <span class="hold-words">{cardWord("hold")}</span>
    </button>
  );
}
