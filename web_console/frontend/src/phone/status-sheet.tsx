/** Everything about this phone: what is true of it, its position, its headset, and what the dark screen allows. */
import { Icon } from "../icon.tsx";
import { t } from "../strings/phone.ts";
import { say } from "../strings/phone-talk.ts";
import { setTheme, theme } from "../theme.ts";
import { ChipList } from "./chips.tsx";
import type { PhoneModel } from "./model.ts";

const APPLE = /iPhone|iPad|iPod/.test(navigator.userAgent);

export function StatusSheet({ model }: { model: PhoneModel }) {
  const position = model.locator.on.value;
  const { headset } = model.radio;
  const light = theme.value === "light";
  return (
    <section class="sheet" aria-label={say("more")}>
      <ChipList model={model} />
      <div class="switches">
        <button
          type="button"
          data-control="position"
          aria-pressed={position}
          onClick={() => model.locator.set(!position)}
        >
          <Icon name={position ? "map-pin" : "map-pin-off"} size={24} />
          {position ? t("position_on") : t("position_off")}
        </button>
        <button type="button" data-control="theme" onClick={() => setTheme(light ? "dark" : "light")}>
          <Icon name="sun" size={24} />
          {say("theme", { name: say(light ? "theme_light" : "theme_dark") })}
        </button>
        {headset.possible && (
          <button
            type="button"
            data-control="headset"
            aria-pressed={headset.on.value}
            onClick={() => headset.set(!headset.on.peek())}
          >
            <Icon name="headphones" size={24} />
            {say("headset")}
          </button>
        )}
      </div>
      <p class="dim">{headset.possible ? say("headset_hint") : say("headset_none")}</p>
      <p class="dim">{APPLE ? say("dark_iphone") : say("dark_other")}</p>
    </section>
  );
}
