/** Which microphone, headset and loudspeaker, with meters that show at once whether they live. */
import { useEffect, useState } from "preact/hooks";
import { Icon } from "../icon.tsx";
import { load, save } from "../storage.ts";
import { type BoxKey, box } from "../strings/radio-boxes.ts";
import type { Processing } from "../voice/microphone.ts";
import type { DeviceChoice } from "../voice/shift.ts";
import { useModel } from "./context.ts";
import { Dialog } from "./dialog.tsx";
import { RIGHT_CTRL } from "./talk-keys.ts";

const METER_MS = 100;

export function DevicesBox({ close }: { close: () => void }) {
  const { desk } = useModel();
  const { shift } = desk.talk;
  const choice = shift.choice.value;
  const { inputs, outputs } = shift.devices.value;
  const off = shift.state.value === "off";
  const set = (part: Partial<DeviceChoice>): void => void shift.choose({ ...choice, ...part });
  return (
    <Dialog title={box("devices_title")} close={close}>
      <div class="box-form">
        {off && <p class="notice">{box("devices_off")}</p>}
        {!shift.outputsFound.value && <p class="notice notice-error">{box("outputs_missing")}</p>}
        <Choice
          id="microphone"
          label="device_microphone"
          value={choice.microphone}
          devices={inputs}
          change={(microphone) => set({ microphone })}
        />
        <MicrophoneMeter />
        <Choice
          id="headset"
          label="device_headset"
          value={choice.headset}
          devices={outputs}
          change={(headset) => set({ headset })}
        />
        <Choice
          id="loudspeaker"
          label="device_loudspeaker"
          value={choice.loudspeaker}
          devices={outputs}
          change={(loudspeaker) => set({ loudspeaker })}
        />
        <div class="buttons">
          <button type="button" disabled={off} onClick={() => shift.buses?.tones.sound("test")}>
            <Icon name="volume-2" /> {box("test_tone")}
          </button>
          {!off && (
            <button
              type="button"
              onClick={() => {
                shift.end();
                close();
              }}
            >
              <Icon name="power" /> {box("shift_end")}
            </button>
          )}
        </div>
        <fieldset class="box-set">
          <legend>{box("processing")}</legend>
          {PROCESSINGS.map(([name, key]) => (
            <label key={name}>
              <input
                type="checkbox"
                checked={choice.processing[name]}
                onChange={(event) =>
                  set({ processing: { ...choice.processing, [name]: event.currentTarget.checked } })
                }
              />
              {box(key)}
            </label>
          ))}
          <RightCtrl />
        </fieldset>
        <p class="dim hint">{box("pedal_hint")}</p>
      </div>
    </Dialog>
  );
}

const PROCESSINGS: readonly (readonly [keyof Processing, BoxKey])[] = [
  ["echoCancellation", "echo"],
  ["noiseSuppression", "noise"],
  ["autoGainControl", "gain"],
];

function RightCtrl() {
  const [on, setOn] = useState(load(RIGHT_CTRL, false));
  return (
    <label>
      <input
        type="checkbox"
        checked={on}
        onChange={(event) => {
          setOn(event.currentTarget.checked);
          save(RIGHT_CTRL, event.currentTarget.checked);
        }}
      />
      {box("right_ctrl")}
    </label>
  );
}

function Choice({
  id,
  label,
  value,
  devices,
  change,
}: {
  id: string;
  label: BoxKey;
  value: string;
  devices: readonly MediaDeviceInfo[];
  change: (id: string) => void;
}) {
  const named = devices.filter((one) => one.deviceId && one.deviceId !== "default");
  return (
    <div class="field">
      <label for={id}>{box(label)}</label>
      <select id={id} value={value} onChange={(event) => change(event.currentTarget.value)}>
        <option value="">{box("device_default")}</option>
        {named.map((one, i) => (
          <option key={one.deviceId} value={one.deviceId}>
            {one.label || box("device_n", { n: i + 1 })}
          </option>
        ))}
        {value && !named.some((one) => one.deviceId === value) && (
          <option value={value}>{box("device_gone")}</option>
        )}
      </select>
    </div>
  );
}

function MicrophoneMeter() {
  const { shift } = useModel().desk.talk;
  const track = shift.microphone.track.value;
  const [level, setLevel] = useState(0);
  useEffect(() => {
    if (!track || !shift.buses) return;
    const meter = shift.buses.meter(track);
    const timer = setInterval(() => setLevel(meter.read()), METER_MS);
    return () => {
      clearInterval(timer);
      meter.end();
    };
  }, [track, shift]);
  return (
    <span
      class="meter"
      role="meter"
      aria-label={box("level")}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(level * 100)}
    >
      <span class="meter-fill" style={{ transform: `scaleX(${level.toFixed(2)})` }} />
    </span>
  );
}
