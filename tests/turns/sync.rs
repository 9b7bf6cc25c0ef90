//! parking_lot's interface to shuttle's locks.

use std::ops::{Deref, DerefMut};

pub struct Mutex<T>(shuttle::sync::Mutex<T>);

pub struct Guard<'a, T>(Option<shuttle::sync::MutexGuard<'a, T>>);

pub struct Condvar(shuttle::sync::Condvar);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Mutex<T> {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> Guard<'_, T> {
        Guard(Some(self.0.lock().unwrap()))
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().unwrap()
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().unwrap()
    }
}

impl Condvar {
    pub fn new() -> Condvar {
        Condvar(shuttle::sync::Condvar::new())
    }

    pub fn wait<T>(&self, guard: &mut Guard<'_, T>) {
        let waits = self.0.wait(guard.0.take().unwrap());
        guard.0 = Some(waits.unwrap());
    }

    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}
