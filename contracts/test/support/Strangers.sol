// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../../src/IRollup.sol";

/// @title A token that does what tokens should not
/// @dev Its storage begins like TestToken's, so that a listed token can turn into this one. Left alone it answers nothing, as some old tokens do.
contract OddToken {
    uint256 public totalSupply;
    mapping(address account => uint256) public balanceOf;
    mapping(address owner => mapping(address spender => uint256)) public allowance;
    /// Percent of every transfer that arrives nowhere.
    uint256 private kept;
    bytes private answer;
    /// Neither sends nor gets.
    address private blocked;
    address private victim;
    bytes private attack;
    /// What the victim said.
    bytes public seen;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    /// @dev What a rebasing token does.
    function burn(address from, uint256 amount) external {
        balanceOf[from] -= amount;
    }

    function keep(uint256 percent) external {
        kept = percent;
    }

    function forbid(address account) external {
        blocked = account;
    }

    function say(bytes calldata answer_) external {
        answer = answer_;
    }

    /// @dev Calls the victim from within every transfer, like the hooks of ERC-777.
    function callBack(address victim_, bytes calldata attack_) external {
        (victim, attack) = (victim_, attack_);
    }

    function transferFrom(address from, address to, uint256 amount) external {
        move(from, to, amount);
    }

    function transfer(address to, uint256 amount) external {
        move(msg.sender, to, amount);
    }

    function move(address from, address to, uint256 amount) private {
        require(blocked == address(0) || (from != blocked && to != blocked), "blocked");
        balanceOf[from] -= amount;
        balanceOf[to] += amount - amount * kept / 100;
        if (victim != address(0)) {
            (bool ok, bytes memory reason) = victim.call(attack);
            seen = ok ? bytes("it went through") : reason;
        }
        bytes memory out = answer;
        assembly ("memory-safe") {
            return(add(out, 0x20), mload(out))
        }
    }
}

/// @title A recipient that calls back into the contract while it is paid
contract Greedy {
    IRollup private immutable rollup;
    bytes private attack;
    bool private refuses;
    /// What the contract said.
    bytes public seen;

    constructor(IRollup rollup_) {
        rollup = rollup_;
    }

    function set(bytes calldata attack_, bool refuses_) external {
        (attack, refuses) = (attack_, refuses_);
    }

    receive() external payable {
        (bool ok, bytes memory reason) = address(rollup).call(attack);
        seen = ok ? bytes("it went through") : reason;
        require(!refuses, "no");
    }
}

/// @title Sends a commit from a contract
contract Sender {
    function commit(IRollup rollup, ILedger.Commit calldata batch) external {
        rollup.commit(batch);
    }
}
