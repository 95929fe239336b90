// Shows the time in an element, and keeps it current.
export function showTime(element) {
    const update = () => {
        element.textContent = new Date().toLocaleTimeString();
    };
    update();
    setInterval(update, 1000);
}
