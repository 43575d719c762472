/** Where the key talks, who listens there, and who talks in the other groups: one line above the large key. */
import { beat } from "../clock.ts";
import { Icon } from "../icon.tsx";
import { say } from "../strings/phone-talk.ts";
import { talk } from "../strings/talk.ts";
import { otherOf } from "../voice/calls.ts";
import type { PhoneModel } from "./model.ts";

export function GroupBar({ model }: { model: PhoneModel }) {
  const { radio } = model;
  beat.value;
  const group = radio.selected.value;
  const { current } = radio.talk.calls.value;
  const inCall = current?.state === "active" && current.group !== "";
  const open = model.sheet.value === "groups";
  const lost = model.link.status.value.phase !== "ready";
  const others = radio.groups.value.flatMap((one) => {
    if (one.id === group?.id) return [];
    const { activity, listening } = radio.card(one);
    return listening && activity.kind === "receiving"
      ? [say("also_heard", { name: activity.talker, group: one.name })]
      : [];
  });
  return (
    <button
      type="button"
      class={`group-bar ${lost ? "stale" : ""}`}
      data-control="groups"
      data-group={group?.id ?? ""}
      aria-expanded={open}
      onClick={() => {
        model.sheet.value = open ? "" : "groups";
      }}
    >
      <Icon name={inCall ? "phone" : "users"} size={22} />
      <span class="group-names">
        <strong>
          {inCall
            ? say("target_call", { name: otherOf(current, model.self.value).name })
            : (group?.name ?? say("groups"))}
        </strong>
        {group?.patch && !inCall && <span class="patch">{group.patch}</span>}
        {others.length > 0 && <span class="others">{others.join("　")}</span>}
      </span>
      {group && !inCall && <Hearers model={model} />}
      <span class="only-read">{say("groups")}</span>
      <Icon name={open ? "x" : "layout-grid"} size={20} />
    </button>
  );
}

function Hearers({ model }: { model: PhoneModel }) {
  const group = model.radio.selected.value;
  if (!group) return null;
  const lost = model.link.status.value.phase !== "ready";
  const { activity } = model.radio.card(group);
  if (activity.kind === "transmitting" && activity.left !== null) {
    return <span class="group-own num">▲ {talk("talk_left", { n: activity.left })}</span>;
  }
  const n = model.radio.hearers(group);
  return (
    <span class="hearers num" data-hearers={n}>
      <Icon name={n > 0 && !lost ? "ear" : "ear-off"} size={18} />{" "}
      {lost ? say("group_no_answer") : n > 0 ? say("group_hearers", { n }) : say("group_nobody")}
    </span>
  );
}
