/** While groups are being chosen for a patch: how many, and the button that joins them. */
import { Icon } from "../icon.tsx";
import { cardWord } from "../strings/cards.ts";
import { radio } from "../strings/radio.ts";
import { useModel } from "./context.ts";

export function PatchBar() {
  const { desk } = useModel();
  const chosen = desk.patching.value;
  if (!chosen) return null;
  return (
    <div class="patch-bar" role="group" aria-label={cardWord("patch_mode")}>
      <span role="status">
        {chosen.length === 0 ? cardWord("patch_hint") : cardWord("patch_chosen", { n: chosen.length })}
      </span>
      <button
        type="button"
        class="primary"
        disabled={chosen.length < 2}
        onClick={() => void desk.makePatch(chosen)}
      >
        <Icon name="link-2" /> {cardWord("patch_make")}
      </button>
      <button type="button" onClick={() => desk.togglePatching()}>
        {radio("cancel")}
      </button>
    </div>
  );
}
