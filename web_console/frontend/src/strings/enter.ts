/** Words of set-up and log-in. */
import { translator } from "../language.ts";

const zh = {
  setup_title: "首次初始化",
  setup_intro: "本机尚无管理员。请输入服务器启动时在终端打印的一次性初始化码，并建立第一个管理员账号。",
  setup_code: "一次性初始化码",
  setup_code_hint: "15 分钟内有效，可重启服务换新码",
  setup_submit: "建立管理员并登录",
  setup_what: "初始化",
  login_title: "登录",
  login_submit: "登录",
  login_what: "登录",
  username: "用户名",
  username_hint: "2–32 个文字、字母、数字或 . _ - @",
  display_name: "姓名",
  password: "密码",
  password_again: "再次输入密码",
  password_show: "显示密码",
  password_hide: "隐藏密码",
  caps_lock: "大写锁定已开启",
  rules: "密码要求",
  rule_length: "至少 {n} 个字符（一句话也可以）",
  rule_not_name: "不含用户名",
  rule_varied: "至少 {n} 种不同字符",
  rule_not_simple: "不是连续的数字字母，也不是一小段反复",
  rule_same: "两次输入一致",
  rule_met: "已满足",
  rule_open: "未满足",
  rules_server: "常见密码会被服务器拒绝",
  working: "处理中…",
  forgot: "忘记密码请管理员在服务器上执行 fengsui user password 用户名",
} as const;

export const enterStrings = zh;
export const t = translator("enter", zh);
