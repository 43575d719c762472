/** A button for what cannot be taken back: pointer, Space or Enter must be held; letting go earlier does nothing. */
import "../styles/hold.css";
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { cardWord } from "../strings/cards.ts";

const HOLD_MS = 1500; // as in hold.css and in its words

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
  const release = (): void => {
    clearTimeout(timer.current);
    setHeld(false);
  };
  const press = (): void => {
    if (disabled || held) return;
    setHeld(true);
    timer.current = setTimeout(() => {
      release();
      act();
    }, HOLD_MS);
  };
  useEffect(() => () => clearTimeout(timer.current), []);
  return (
    <button
      type="button"
      class={`danger hold ${held ? "held" : ""}`}
      disabled={disabled}
      onPointerDown={press}
      onPointerUp={release}
      onPointerLeave={release}
      onPointerCancel={release}
      onBlur={release}
      onContextMenu={(event) => event.preventDefault()}
      onKeyDown={(event) => {
        if (event.key !== " " && event.key !== "Enter") return;
        event.preventDefault();
        if (!event.repeat) press();
      }}
      onKeyUp={release}
    >
      {children} <span aria-live="polite">{cardWord(held ? "holding" : "hold")}</span>
    </button>
  );
}
