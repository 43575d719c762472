/** The right panel of every page: alarms first, then who wants to be called back, then what was said last. */
import "../styles/side.css";
import { Icon } from "../icon.tsx";
import { radio } from "../strings/radio.ts";
import { side } from "../strings/side.ts";
import { AlarmQueue } from "./alarms.tsx";
import { CallBacks } from "./callbacks.tsx";
import { useModel } from "./context.ts";
import { RecentSpurtList } from "./spurt-list.tsx";

export function SidePanel() {
  const model = useModel();
  const open = model.sideOpen.value;
  const waiting = model.desk.alarms.value.filter((one) => one.state === "new").length;
  if (!open) {
    return (
      <aside class="side side-closed" aria-label={radio("side")}>
        <button
          type="button"
          class="quiet icon-button"
          aria-label={side("side_show")}
          title={`${side("side_show")} (])`}
          onClick={() => model.toggleSide()}
        >
          <Icon name="panel-right-open" size={18} />
        </button>
        {waiting > 0 && (
          <button
            type="button"
            class="side-alarm"
            aria-label={side("alarms_new", { n: waiting })}
            onClick={() => model.toggleSide()}
          >
            <Icon name="siren" size={20} /> {waiting}
          </button>
        )}
      </aside>
    );
  }
  return (
    <aside class="side" aria-label={radio("side")}>
      <AlarmQueue
        close={
          <button
            type="button"
            class="quiet icon-button"
            aria-label={side("side_hide")}
            title={`${side("side_hide")} (])`}
            onClick={() => model.toggleSide()}
          >
            <Icon name="panel-right-close" size={18} />
          </button>
        }
      />
      <CallBacks />
      <RecentSpurtList />
    </aside>
  );
}
