/** What was just done can be taken back for some seconds. */
import { beat, now } from "../clock.ts";
import { Icon } from "../icon.tsx";
import { radio } from "../strings/radio.ts";
import { useModel } from "./context.ts";

export function UndoOffer() {
  const { desk } = useModel();
  const undo = desk.undo.value;
  beat.value; // seconds are counted
  if (!undo) return null;
  return (
    <div class="undo" role="status">
      <span>{undo.text}</span>
      <button
        type="button"
        onClick={() => {
          desk.undo.value = null;
          undo.act();
        }}
      >
        <Icon name="undo" /> {radio("undo", { n: Math.max(0, Math.ceil(undo.until - now())) })}
      </button>
    </div>
  );
}
