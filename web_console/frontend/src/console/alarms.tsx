/** The queue of emergency alarms: new ones first; each with its owner, age, place and picture. */
import type { ComponentChildren } from "preact";
import { beat, serverTime } from "../clock.ts";
import { Icon } from "../icon.tsx";
import type { Alarm, AlarmPosition } from "../messages.ts";
import { radio } from "../strings/radio.ts";
import { side } from "../strings/side.ts";
import { clockTime, duration } from "../times.ts";
import { PLACES } from "../video/wall.ts";
import { isLate } from "../voice/late.ts";
import { AlarmPicture } from "./alarm-picture.tsx";
import { useModel } from "./context.ts";

export function AlarmQueue({ close }: { close: ComponentChildren }) {
  const { desk } = useModel();
  const alarms = desk.alarms.value;
  const waiting = alarms.filter((one) => one.state === "new").length;
  return (
    <section class="alarms" aria-label={side("alarms")}>
      <header class="panel-head">
        <h2>{side("alarms")}</h2>
        <span class="dim num">
          {alarms.length > 0 && side("alarms_count", { new: waiting, all: alarms.length })}
        </span>
        {close}
      </header>
      <p class="only-read" role="alert">
        {waiting > 0 ? side("alarms_new", { n: waiting }) : ""}
      </p>
      {alarms.length === 0 && (
        <p class="dim panel-none with-icon">
          <Icon name="circle-check" /> {radio("alarms_none")}
        </p>
      )}
      <ul class="alarm-list">
        {alarms.map((alarm) => (
          <AlarmItem key={alarm.id} alarm={alarm} />
        ))}
      </ul>
    </section>
  );
}

function AlarmItem({ alarm }: { alarm: Alarm }) {
  const model = useModel();
  const { desk } = model;
  beat.value; // ages are counted
  const time = serverTime();
  const isNew = alarm.state === "new";
  const parked = alarm.state === "parked";
  const may = model.may("alarm.handle");
  const stream = model.world.value.stream.get(alarm.stream);
  const picture = desk.pictures.value.find((one) => one.alarm === alarm.id);
  const slot = picture && model.media.slots[PLACES + picture.slot];
  const open = (act: "park" | "close"): void => {
    desk.box.value = { kind: "alarm", alarm: alarm.id, act };
  };
  return (
    <li class={`alarm alarm-${alarm.state}`} data-alarm={alarm.id} data-state={alarm.state}>
      <header>
        <Icon name="siren" size={20} />
        <strong class="alarm-name">{alarm.name}</strong>
        <span>{alarm.kind === "peril" ? side("alarm_peril") : side("alarm_emergency")}</span>
        {alarm.times > 1 && <span class="num">{side("alarm_times", { n: alarm.times })}</span>}
        <span class="spring" />
        <time class="num" title={clockTime(alarm.pressed)}>
          {side("ago", { time: duration(time - alarm.pressed) })}
        </time>
      </header>
      {isLate(alarm) && (
        <p class="num alarm-late">
          <Icon name="hourglass" size={14} />{" "}
          {side("alarm_late", {
            pressed: clockTime(alarm.pressed),
            time: clockTime(alarm.raised),
            late: duration(alarm.raised - alarm.pressed),
          })}
        </p>
      )}
      <p>
        {model.world.value.group.has(alarm.group) && <span>{desk.nameOf(alarm.group)} · </span>}
        {alarm.state === "acknowledged" && side("alarm_owner", { name: alarm.owner })}
        {alarm.state === "new" && side("alarm_unowned")}
        {parked &&
          side("alarm_parked", {
            name: alarm.owner,
            time: alarm.until === null ? "" : clockTime(alarm.until),
            reason: alarm.reason,
          })}
      </p>
      <p class="num">
        <Icon name={alarm.position ? "map-pin" : "map-pin-off"} size={14} />{" "}
        {placeWords(alarm.position, time)}
      </p>
      {slot && <AlarmPicture slot={slot} name={alarm.name} enlarge={() => model.show(alarm.stream)} />}
      {may && (
        <div class="buttons">
          {/* Each act keeps its place: a click meant for one must never meet another. */}
          {parked ? (
            <button type="button" onClick={() => desk.moveAlarm(alarm.id, "resume")}>
              {side("alarm_resume")}
            </button>
          ) : (
            <button
              type="button"
              class="primary"
              title={`${side("alarm_ack")} (F4 Enter)`}
              disabled={!isNew}
              onClick={() => desk.moveAlarm(alarm.id, "acknowledge")}
            >
              <Icon name="check" /> {side("alarm_ack")}
            </button>
          )}
          <button type="button" class="quiet" disabled={parked} onClick={() => open("park")}>
            {side("alarm_park")}
          </button>
          <button type="button" class="quiet" onClick={() => open("close")}>
            {side("alarm_close")}
          </button>
          {stream?.state === "live" && !slot && (
            <button type="button" onClick={() => model.show(alarm.stream)}>
              <Icon name="monitor-play" /> {side("alarm_picture")}
            </button>
          )}
        </div>
      )}
    </li>
  );
}

/** "33.39812, 104.92215 ±8 米 · 12 秒前" */
function placeWords(position: AlarmPosition | null, time: number): string {
  if (!position) return side("place_unknown");
  const { lat, lon, accuracy } = position;
  const near = accuracy === null ? "" : ` ${side("place_accuracy", { n: Math.round(accuracy) })}`;
  const age = side("ago", { time: duration(time - position.time) });
  return `${lat.toFixed(5)}, ${lon.toFixed(5)}${near} · ${age}`;
}
