import "../styles/help.css";
import { Icon } from "../icon.tsx";
import type { IconName } from "../icon-names.ts";
import { type ConsoleKey, t } from "../strings/console.ts";
import { useModel } from "./context.ts";
import { Dialog } from "./dialog.tsx";

const KEYS: readonly (readonly [readonly string[], ConsoleKey])[] = [
  [["F8"], "key_talk"],
  [["Shift+F8"], "key_barge_in"],
  [["F9", "F9"], "key_all_call"],
  [["1-9", "Shift"], "key_groups"],
  [["F2"], "key_recall"],
  [["F4", "Enter"], "key_alarm"],
  [["T"], "key_patch"],
  [["M"], "key_mute_group"],
  [["↑", "↓", "Enter"], "key_list"],
  [["←", "→", "↑", "↓"], "key_tiles"],
  [["Num 0-9", "Enter"], "key_number"],
  [["F"], "key_fullscreen"],
  [["S"], "key_snapshot"],
  [["I"], "key_statistics"],
  [["Delete"], "key_remove"],
  [["V"], "key_layout"],
  [["/", "Ctrl+K"], "key_search"],
  [["["], "key_panel"],
  [["]"], "key_side"],
  [["G W", "G R", "G H", "G A"], "key_pages"],
  [["?"], "key_help"],
  [["Esc"], "key_close"],
];

const LEGEND: readonly (readonly [string, IconName, ConsoleKey])[] = [
  ["sel", "square", "legend_selected"],
  ["live", "circle-check", "legend_live"],
  ["late", "gauge", "legend_late"],
  ["stale", "pause", "legend_stale"],
  ["fault", "octagon-x", "legend_fault"],
  ["tx", "mic", "legend_tx"],
  ["rx", "headphones", "legend_rx"],
  ["wait", "hourglass", "legend_wait"],
  ["patch", "link-2", "legend_patch"],
  ["alarm", "siren", "legend_alarm"],
];

export function Help() {
  const model = useModel();
  return (
    <Dialog
      title={t("help_title")}
      close={() => {
        model.helpOpen.value = false;
      }}
    >
      <div class="help">
        <section>
          <h3>{t("help_keys")}</h3>
          <dl>
            {KEYS.map(([keys, key]) => (
              <div key={key}>
                <dt>
                  {keys.map((one) => (
                    <kbd key={one}>{one}</kbd>
                  ))}
                </dt>
                <dd>{t(key)}</dd>
              </div>
            ))}
          </dl>
        </section>
        <section>
          <h3>{t("help_legend")}</h3>
          <ul>
            {LEGEND.map(([tone, icon, key]) => (
              <li key={key} class={`with-icon tone-${tone}`}>
                <Icon name={icon} size={18} />
                <span>{t(key)}</span>
              </li>
            ))}
          </ul>
        </section>
      </div>
    </Dialog>
  );
}
