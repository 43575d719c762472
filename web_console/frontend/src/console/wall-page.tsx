/** The video wall: list, tool bar, grid. */
import "../styles/wall.css";
import { useEffect, useState } from "preact/hooks";
import { Icon } from "../icon.tsx";
import { t } from "../strings/console.ts";
import { type Direction, LAYOUTS, moveFocus, PLACES } from "../video/wall.ts";
import { useModel } from "./context.ts";
import { GroupPanel } from "./group-panel.tsx";
import { ResourceList, useSearchSelection } from "./list.tsx";
import { Menu } from "./menu.tsx";
import { Tile } from "./tile.tsx";

export function WallPage() {
  const model = useModel();
  useSearchSelection();
  const wall = model.wall.value;
  const side = Math.sqrt(wall.layout);

  useEffect(() => {
    const changed = (): void => {
      const slot = (document.fullscreenElement as HTMLElement | null)?.dataset.slot;
      model.fullscreen.value = slot === undefined ? null : Number(slot);
    };
    document.addEventListener("fullscreenchange", changed);
    return () => document.removeEventListener("fullscreenchange", changed);
  }, [model]);

  return (
    <div class="page wall" hidden={model.page.value !== "/wall"}>
      <h1 class="only-read">{t("nav_wall")}</h1>
      {model.panelOpen.value && model.page.value === "/wall" && (
        <div class="left">
          <GroupPanel />
          <ResourceList />
        </div>
      )}
      <section class="centre" aria-label={t("nav_wall")}>
        <ToolBar />
        {model.sound.value && model.soundBlocked.value && (
          <button type="button" class="sound-bar" onClick={() => model.setSound(true)}>
            <Icon name="volume-x" size={18} /> {t("sound_blocked")}
          </button>
        )}
        <div
          class={`grid grid-${side}`}
          role="group"
          aria-label={t("layout_n", { n: wall.layout })}
          data-layout={wall.layout}
          onKeyDown={(event) => {
            // by code: the number pad types numbers, also without its lock
            if (!event.code.startsWith("Arrow") || event.ctrlKey || event.altKey || event.metaKey) return;
            event.preventDefault();
            model.change((one) => moveFocus(one, event.code as Direction));
          }}
        >
          {model.media.slots.slice(0, PLACES).map((slot) => (
            <Tile key={slot.index} slot={slot} />
          ))}
        </div>
      </section>
    </div>
  );
}

function ToolBar() {
  const model = useModel();
  const wall = model.wall.value;
  return (
    <div class="tools" role="toolbar" aria-label={t("nav_wall")}>
      <button
        type="button"
        class="quiet"
        aria-label={model.panelOpen.value ? t("panel_hide") : t("panel_show")}
        title={`${model.panelOpen.value ? t("panel_hide") : t("panel_show")} ([)`}
        onClick={() => model.togglePanel()}
      >
        <Icon name={model.panelOpen.value ? "panel-left-close" : "panel-left-open"} size={18} />
      </button>
      <fieldset class="segments">
        <legend class="only-read">{t("layout")}</legend>
        {LAYOUTS.map((layout) => (
          <button
            type="button"
            key={layout}
            aria-pressed={wall.layout === layout}
            aria-label={t("layout_n", { n: layout })}
            title={`${t("layout_n", { n: layout })} (V)`}
            onClick={() => model.setLayout(layout)}
          >
            {layout}
          </button>
        ))}
      </fieldset>
      <button type="button" onClick={() => model.fill()}>
        <Icon name="layout-grid" /> {t("fill")}
      </button>
      <Presets />
      <button type="button" onClick={() => model.clear()}>
        {t("clear_wall")}
      </button>
      <span class="spring" />
      {model.may("link.create") && (
        <button
          type="button"
          onClick={() => {
            model.inviteOpen.value = true;
          }}
        >
          <Icon name="qr-code" /> {t("invite")}
        </button>
      )}
      <button
        type="button"
        aria-pressed={model.sound.value}
        title={`${model.sound.value ? t("sound_on") : t("sound_off")} (M)`}
        onClick={() => model.setSound(!model.sound.value)}
      >
        <Icon name={model.sound.value ? "volume-2" : "volume-x"} />
        {model.sound.value ? t("sound_on") : t("sound_off")}
      </button>
    </div>
  );
}

function Presets() {
  const model = useModel();
  const [name, setName] = useState("");
  return (
    <Menu
      label={
        <>
          <Icon name="save" /> {t("presets")}
        </>
      }
      name={t("presets")}
    >
      {model.presets.value.length === 0 && <p class="dim">{t("preset_none")}</p>}
      {model.presets.value.map((preset) => (
        <div class="menu-row" key={preset.name}>
          <button type="button" class="quiet" onClick={() => model.change(() => preset.wall)}>
            {preset.name} <span class="dim num">{preset.wall.layout}</span>
          </button>
          <button
            type="button"
            class="quiet"
            aria-label={t("preset_delete", { name: preset.name })}
            onClick={() => model.deletePreset(preset.name)}
          >
            <Icon name="trash-2" />
          </button>
        </div>
      ))}
      <form
        class="menu-row"
        onSubmit={(event) => {
          event.preventDefault();
          if (!name.trim()) return;
          model.savePreset(name.trim());
          setName("");
        }}
      >
        <input
          value={name}
          maxLength={32}
          placeholder={t("preset_name")}
          aria-label={t("preset_name")}
          onInput={(event) => setName(event.currentTarget.value)}
        />
        <button type="submit" disabled={!name.trim()}>
          {t("preset_save")}
        </button>
      </form>
    </Menu>
  );
}
