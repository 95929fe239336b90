import { showTime } from "./clock.js";

const clock = document.querySelector("#clock");
if (clock) {
    showTime(clock);
}
