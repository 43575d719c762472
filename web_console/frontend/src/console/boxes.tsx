/** The dialogs of groups, alarms, recordings and devices: fetched together, when one is first opened. */
import "../styles/boxes.css";
import { AlarmBox } from "./alarm-box.tsx";
import { useModel } from "./context.ts";
import { DevicesBox } from "./devices-box.tsx";
import { EvidenceBox } from "./evidence-box.tsx";
import { GroupBox } from "./group-box.tsx";
import { NewGroupBox } from "./new-group-box.tsx";

export function Boxes() {
  const { desk } = useModel();
  const box = desk.box.value;
  const close = (): void => {
    if (desk.box.peek() === box) desk.box.value = null;
  };
  switch (box?.kind) {
    case "group":
      return <GroupBox key={box.group} id={box.group} close={close} />;
    case "new":
      return <NewGroupBox close={close} />;
    case "devices":
      return <DevicesBox close={close} />;
    case "alarm":
      return <AlarmBox key={box.alarm + box.act} id={box.alarm} act={box.act} close={close} />;
    case "hold":
      return <EvidenceBox key={box.spurt.id} spurt={box.spurt} close={close} />;
    default:
      return null;
  }
}
