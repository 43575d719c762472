/** Everything about one group: how it is heard, who listens, who may, its patch, forced release, its end. */
import { useState } from "preact/hooks";
import type { Problem } from "../api.ts";
import { beat, serverTime } from "../clock.ts";
import { Icon } from "../icon.tsx";
import type { Group, Listener, MemberWish } from "../messages.ts";
import { box } from "../strings/radio-boxes.ts";
import { clockTime, shortTime } from "../times.ts";
import { ProblemNotice } from "../views/notice.tsx";
import { isMuted } from "../voice/levels.ts";
import { listen } from "../voice/tuning.ts";
import { useModel } from "./context.ts";
import { Dialog } from "./dialog.tsx";
import { GroupVolume } from "./group-volume.tsx";
import { HoldButton } from "./hold-button.tsx";
import { MemberChoice, priorityWords, roleWords } from "./member-choice.tsx";
import { ReasonField } from "./reason.tsx";

const MUTE_MINUTES = [5, 15, 60];
const PATCH_MUTE_S = 60;

export function GroupBox({ id, close }: { id: string; close: () => void }) {
  const model = useModel();
  const group = model.world.value.group.get(id);
  beat.value; // times run out
  if (!group) {
    return (
      <Dialog title={box("gone_title")} close={close}>
        <p>{box("gone")}</p>
      </Dialog>
    );
  }
  const manage = model.may("group.manage");
  return (
    <Dialog title={`${group.number} ${group.name}`} close={close}>
      <div class="group-box">
        <div>
          <Hearing group={group} />
          {group.patch && <PatchPart group={group} />}
          {model.may("floor.revoke") && <ForcedRelease group={group} />}
          {manage && <End group={group} close={close} />}
        </div>
        <div>
          <Listeners group={group} />
          {manage && group.kind !== "all_call" && <Members group={group} />}
        </div>
      </div>
    </Dialog>
  );
}

function Hearing({ group }: { group: Group }) {
  const { desk } = useModel();
  const { talk } = desk;
  const selected = desk.selected.value.includes(group.id);
  const muted = isMuted(talk.volumes.value, group.id, serverTime());
  const until = talk.volumes.value.muted[group.id];
  const left = talk.tuning.value.left.includes(group.id);
  return (
    <section>
      <h3>{box("hearing")}</h3>
      {group.expires !== null && <p class="dim num">{box("expires", { time: shortTime(group.expires) })}</p>}
      <label class="box-check">
        <input
          type="checkbox"
          checked={!left}
          onChange={(event) => {
            const on = event.currentTarget.checked;
            talk.change((tuning) => listen(tuning, group.id, on));
          }}
        />
        {box("listen_to")}
      </label>
      <GroupVolume group={group} />
      {selected ? (
        <p class="dim hint">{box("selected_unmuted")}</p>
      ) : (
        <div class="buttons">
          {muted ? (
            <button type="button" onClick={() => desk.mute(group.id, null)}>
              <Icon name="volume-2" />{" "}
              {until ? box("unmute_until", { time: clockTime(until) }) : box("unmute")}
            </button>
          ) : (
            <>
              <button type="button" onClick={() => desk.mute(group.id, null)}>
                <Icon name="volume-x" /> {box("mute")}
              </button>
              {MUTE_MINUTES.map((minutes) => (
                <button
                  key={minutes}
                  type="button"
                  class="quiet"
                  onClick={() => desk.mute(group.id, minutes)}
                >
                  {box("minutes", { n: minutes })}
                </button>
              ))}
            </>
          )}
        </div>
      )}
    </section>
  );
}

function PatchPart({ group }: { group: Group }) {
  const model = useModel();
  const { desk } = model;
  const patch = [...model.world.value.patch.values()].find((one) => one.groups.includes(group.id));
  const out = group.muted !== null && group.muted > serverTime();
  return (
    <section>
      <h3>
        {box("patch")} <span class="group-patch">{group.patch}</span>
      </h3>
      {patch && <p>{patch.groups.map((one) => desk.nameOf(one)).join(" · ")}</p>}
      {patch && model.may("group.manage") && (
        <div class="buttons">
          <button type="button" onClick={() => desk.mutePatched(group.id, out ? 0 : PATCH_MUTE_S)}>
            {out
              ? box("patch_unmute", { time: clockTime(group.muted ?? 0) })
              : box("patch_mute", { n: PATCH_MUTE_S })}
          </button>
          <button type="button" onClick={() => void desk.endPatch(patch)}>
            <Icon name="unlink" /> {box("patch_end")}
          </button>
        </div>
      )}
    </section>
  );
}

function ForcedRelease({ group }: { group: Group }) {
  const model = useModel();
  const floor = model.world.value.floor.get(group.id);
  const [reason, setReason] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  const talker = floor?.state === "taken" ? floor.talker : null;
  const revoke = async (): Promise<void> => {
    const outcome = await model.link.command(
      "floor.revoke",
      { group: group.id, reason: reason.trim() },
      "now",
    );
    setProblem(outcome.ok ? null : outcome.problem);
    if (outcome.ok) setReason("");
  };
  return (
    <section>
      <h3>{box("forced")}</h3>
      {problem && <ProblemNotice what={box("forced")} problem={problem} wait={0} />}
      {talker ? (
        <div class="box-form">
          <p>{box("forced_who", { name: talker.name })}</p>
          <ReasonField id="forced-reason" value={reason} change={setReason} />
          <HoldButton disabled={!reason.trim()} act={() => void revoke()}>
            <Icon name="octagon-x" /> {box("forced_do")}
          </HoldButton>
        </div>
      ) : (
        <p class="dim">{box("forced_nobody")}</p>
      )}
    </section>
  );
}

function End({ group, close }: { group: Group; close: () => void }) {
  const model = useModel();
  const [open, setOpen] = useState(false);
  const [reason, setReason] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  const end = async (): Promise<void> => {
    const outcome = await model.link.command(
      "group.delete",
      { group: group.id, reason: reason.trim() },
      "resend",
    );
    if (!outcome.ok) return setProblem(outcome.problem);
    model.sayText(box("ended", { name: group.name }));
    close();
  };
  return (
    <section>
      <h3>{box("end")}</h3>
      {!open && (
        <button type="button" onClick={() => setOpen(true)}>
          <Icon name="trash-2" /> {box("end_open")}
        </button>
      )}
      {problem && <ProblemNotice what={box("end")} problem={problem} wait={0} />}
      {open && (
        <div class="box-form">
          <p>{box("end_what")}</p>
          <ReasonField id="end-reason" value={reason} change={setReason} />
          <HoldButton disabled={!reason.trim()} act={() => void end()}>
            <Icon name="trash-2" /> {box("end_do")}
          </HoldButton>
        </div>
      )}
    </section>
  );
}

function Listeners({ group }: { group: Group }) {
  return (
    <section>
      <h3>{box("listeners", { n: group.listeners.length })}</h3>
      {group.listeners.length === 0 && <p class="dim">{box("listeners_none")}</p>}
      <ul class="listeners">
        {group.listeners.map((one) => (
          <ListenerRow key={one.leg} listener={one} />
        ))}
      </ul>
    </section>
  );
}

function ListenerRow({ listener }: { listener: Listener }) {
  const model = useModel();
  const { desk } = model;
  const self = listener.user !== "" && listener.user === model.initial.user?.id;
  const to = { unit: listener.unit, user: listener.unit ? "" : listener.user };
  return (
    <li>
      <Icon name={listener.kind === "phone" ? "phone" : "headphones"} size={14} />
      <span class="listener-name">{listener.name}</span>
      <span class="dim">
        {[
          listener.selected ? box("mark_selected") : "",
          listener.talk ? "" : box("mark_listens"),
          listener.voice ? box("mark_voice") : box("mark_silent"),
        ]
          .filter(Boolean)
          .join(" · ")}
      </span>
      {!self && listener.voice && (
        <>
          <button type="button" class="quiet" onClick={() => void desk.call(to, "full")}>
            {box("call_full")}
          </button>
          <button type="button" class="quiet" onClick={() => void desk.call(to, "half")}>
            {box("call_half")}
          </button>
        </>
      )}
    </li>
  );
}

function Members({ group }: { group: Group }) {
  const model = useModel();
  const [open, setOpen] = useState(false);
  const [name, setName] = useState(group.name);
  const [members, setMembers] = useState<readonly MemberWish[]>(group.members);
  const [problem, setProblem] = useState<Problem | null>(null);
  const save = async (): Promise<void> => {
    const wishes = members.map(({ kind, id, talk, priority }) => ({
      kind,
      id,
      talk: talk ?? true,
      priority: priority ?? 4,
    }));
    const outcome = await model.link.command(
      "group.change",
      { group: group.id, name: name.trim() || null, members: wishes },
      "resend",
    );
    if (!outcome.ok) return setProblem(outcome.problem);
    setOpen(false);
    model.sayText(box("changed", { name }));
  };
  return (
    <section>
      <h3>{box("may", { n: group.members.length })}</h3>
      {problem && <ProblemNotice what={box("save")} problem={problem} wait={0} />}
      {open ? (
        <div class="box-form">
          <div class="field">
            <label for="rename">{box("name")}</label>
            <input
              id="rename"
              value={name}
              maxLength={64}
              onInput={(event) => setName(event.currentTarget.value)}
            />
          </div>
          <MemberChoice members={members} known={group.members} change={setMembers} />
          <div class="buttons">
            <button type="button" class="primary" onClick={() => void save()}>
              {box("save")}
            </button>
            <button type="button" onClick={() => setOpen(false)}>
              {box("cancel")}
            </button>
          </div>
        </div>
      ) : (
        <>
          <ul class="may">
            {group.members.map((one) => (
              <li key={one.kind + one.id}>
                <Icon
                  name={one.kind === "role" ? "users" : one.kind === "unit" ? "radio" : "circle-user-round"}
                  size={14}
                />
                {one.kind === "role" ? roleWords(one.id) : one.name}{" "}
                <span class="dim num">{one.talk ? priorityWords(one.priority) : box("mark_listens")}</span>
              </li>
            ))}
          </ul>
          <button
            type="button"
            onClick={() => {
              setMembers(group.members);
              setName(group.name);
              setOpen(true);
            }}
          >
            <Icon name="users" /> {box("change")}
          </button>
        </>
      )}
    </section>
  );
}
