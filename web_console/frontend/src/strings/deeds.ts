/** What is done to a unit or a stream after a question. */
import { translator } from "../language.ts";

const zh = {
  rename_title: "单位改名",
  rename_new: "新名称",
  rename_do: "保存名称",
  close_what: "结束 {name} 的推送",
  close_effect: "所有席位立即失去这路画面。对方可以重新推送；要彻底断开，请撤销其邀请链接或设备凭证。",
  close_effect_camera: "所有席位立即失去这路画面，约一分钟后服务器会再次拉取。",
  close_reason: "原因（必填，记入审计日志）",
  close_do: "结束推送",
} as const;

export const deedStrings = zh;
export const deed = translator("deeds", zh);
